"""The public names of `neurosim` and the module of each; `__init__.py` imports a module when its name is used."""

from . import (
    circuit as circuit,
)
from . import (
    cli as cli,
)
from . import (
    compiler as compiler,
)
from . import (
    cores as cores,
)
from . import (
    datasets as datasets,
)
from . import (
    energy as energy,
)
from . import (
    errors as errors,
)
from . import (
    exchange as exchange,
)
from . import (
    files as files,
)
from . import (
    hardware as hardware,
)
from . import (
    kernels as kernels,
)
from . import (
    language as language,
)
from . import (
    learning as learning,
)
from . import (
    models as models,
)
from . import (
    network as network,
)
from . import (
    parallel as parallel,
)
from . import (
    plasticity as plasticity,
)
from . import (
    quantities as quantities,
)
from . import (
    recording as recording,
)
from . import (
    report as report,
)
from . import (
    sweeps as sweeps,
)
from . import (
    synapses as synapses,
)
from . import (
    units as units,
)
from .compiler.latex import latex as latex
from .errors import NeurosimError as NeurosimError
from .kernels.common.availability import kernel_status as kernel_status
from .language import (
    Core as Core,
)
from .language import (
    Surrogate as Surrogate,
)
from .language import (
    amperes as amperes,
)
from .language import (
    atan as atan,
)
from .language import (
    core as core,
)
from .language import (
    exponential as exponential,
)
from .language import (
    farads as farads,
)
from .language import (
    fast_sigmoid as fast_sigmoid,
)
from .language import (
    hertz as hertz,
)
from .language import (
    multi_gaussian as multi_gaussian,
)
from .language import (
    ohms as ohms,
)
from .language import (
    rectangle as rectangle,
)
from .language import (
    seconds as seconds,
)
from .language import (
    siemens as siemens,
)
from .language import (
    sigmoid as sigmoid,
)
from .language import (
    straight_through as straight_through,
)
from .language import (
    triangle as triangle,
)
from .language import (
    volts as volts,
)
from .learning import (
    BPTT as BPTT,
)
from .learning import (
    OTTT as OTTT,
)
from .learning import (
    SLTT as SLTT,
)
from .learning import (
    CrossEntropy as CrossEntropy,
)
from .learning import (
    CrossEntropyMSE as CrossEntropyMSE,
)
from .learning import (
    History as History,
)
from .learning import (
    Latency as Latency,
)
from .learning import (
    Loss as Loss,
)
from .learning import (
    MaxMembrane as MaxMembrane,
)
from .learning import (
    MeanMembrane as MeanMembrane,
)
from .learning import (
    RateCrossEntropy as RateCrossEntropy,
)
from .learning import (
    RatePenalty as RatePenalty,
)
from .learning import (
    Rule as Rule,
)
from .learning import (
    TargetRates as TargetRates,
)
from .learning import (
    accuracy as accuracy,
)
from .learning import (
    evaluate as evaluate,
)
from .learning import (
    fit as fit,
)
from .learning import (
    load_checkpoint as load_checkpoint,
)
from .learning import (
    parameter_groups as parameter_groups,
)
from .learning import (
    save_checkpoint as save_checkpoint,
)
from .network import init as init
from .network.graph import Edge as Edge
from .network.graph import Input as Input
from .network.graph import NetworkState as NetworkState
from .network.layers import ALIF as ALIF
from .network.layers import IF as IF
from .network.layers import LI as LI
from .network.layers import LIF as LIF
from .network.layers import CubaLIF as CubaLIF
from .network.layers import layer as layer
from .network.network import Network as Network
from .network.neuron import Neuron as Neuron
from .network.sequential import Recurrent as Recurrent
from .network.sequential import Sequential as Sequential
from .network.stateful import Stateful as Stateful
from .recording.events import Events as Events
from .recording.recording import Recording as Recording
from .recording.trace import Trace as Trace
from .simulation import simulate as simulate
from .sweeps import sweep as sweep
from .synapses import (
    AvgPool2d as AvgPool2d,
)
from .synapses import (
    BlockLinear as BlockLinear,
)
from .synapses import (
    Conv1d as Conv1d,
)
from .synapses import (
    Conv2d as Conv2d,
)
from .synapses import (
    Drawn as Drawn,
)
from .synapses import (
    Dropout as Dropout,
)
from .synapses import (
    Flatten as Flatten,
)
from .synapses import (
    Linear as Linear,
)
from .synapses import (
    MaxPool2d as MaxPool2d,
)
from .synapses import (
    Sparse as Sparse,
)
from .synapses import (
    SumPool2d as SumPool2d,
)

__version__: str
