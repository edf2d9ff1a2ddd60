"""What can go wrong, by kind. Every message names the thing, its value, what is allowed and what to do."""

from __future__ import annotations


class NeurosimError(Exception):
    """Root of every error that neurosim raises on purpose."""


class ShapeError(NeurosimError, ValueError):
    """A tensor has the wrong shape."""


class UnitError(NeurosimError, ValueError):
    """A quantity is outside its physical range, most often milliseconds given as seconds."""


class InputError(NeurosimError, ValueError):
    """An argument or a tensor holds a value that cannot be used."""


class NetworkError(NeurosimError, ValueError):
    """Nodes and edges do not form a network."""


class FileError(NeurosimError, OSError):
    """A file is missing, damaged or cannot be written; it is left as it was."""


class KernelError(NeurosimError, RuntimeError):
    """A fused kernel was required and is not there."""


class ExportError(NeurosimError, ValueError):
    """A target cannot hold what the network asks of it."""


class NothingCompared(UserWarning):
    """A comparison found no difference, but no spike or value was there that could have differed."""


class TargetRunError(NeurosimError, RuntimeError):
    """A run on a target (a Lava process group) failed, hung or was stopped."""


class ActivityWarning(UserWarning):
    """A population never fires, or fires at every step."""


class ClusterError(NeurosimError, RuntimeError):
    """Machines that run the trials of a sweep cannot be reached, were lost, or differ."""


class FailedTrials(UserWarning):
    """Trials of a sweep ended in an error."""
