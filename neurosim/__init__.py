"""neurosim: describe a spiking network once; train it, simulate it, deploy it.

The names here are what a user types. Datasets, reports, chips and the Lava export are rooms of their own:
`neurosim.datasets`, `neurosim.report`, `neurosim.hardware` and `neurosim.hardware.lava`.
"""

import pkgutil

import lazy_loader

__version__ = "0.1.0"

# The list of names is `__init__.pyi`. A room is imported when a name of it is first used, so that `import neurosim`
# and the help of the command line do not wait for torch.
__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted({*_names} - {module.name for module in pkgutil.iter_modules(__path__)})
