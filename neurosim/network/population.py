"""The interface of a node that is a population of neurons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.synapses.time_step import OnGrid
from neurosim.units import check_dt

State = tuple[Tensor, ...]
Inputs = Tensor | Mapping[str, Tensor]


class Population(OnGrid, ABC):
    """A population of neurons: current and state in, spikes (or a membrane) and the next state out.

    `Neuron` steps through time; the layers of `neurosim.parallel` work on all steps at once.

    Parameters
    ----------
    kind : str
        Name of the model, in messages and in reports.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out. Without one the population cannot run.
    size : int or tuple of int, optional
        Shape of the population, if it is fixed.
    """

    def __init__(self, kind: str, dt: float | None, size: int | Sequence[int] | None = None) -> None:
        super().__init__()
        self.kind = kind
        if dt is not None:
            vars(self)["dt"] = check_dt(kind, dt)
        self.size = checked_size(kind, size)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; dt and size of a population that is made cannot be changed."""
        if name == "dt" or (name == "size" and name in vars(self)):
            raise InputError(
                f"{self.kind}: {name} of a layer that is made cannot be set, because other values were computed from "
                f"it; make a new layer with {name}={value!r}."
            )
        super().__setattr__(name, value)

    @property
    def label(self) -> str:
        """Name of the model, in messages."""
        return self.kind

    @property
    def must_be_called(self) -> bool:
        """Whether a hook, or a replaced `forward`, has to run at each call of the population."""
        return type(self).forward is not Population.forward or has_hooks(self)

    @property
    @abstractmethod
    def is_spiking(self) -> bool:
        """Whether the output is spikes (else it is a membrane)."""

    @property
    def ports(self) -> Mapping[str, float | None]:
        """Input ports: the value of each where nothing feeds it, or None if it must be fed."""
        return {"i": None}

    @property
    def noise_port(self) -> str | None:
        """Input port that a network feeds with normal numbers, if there is one."""
        return None

    @abstractmethod
    def initial_state(self, i: Any) -> Any:
        """Return the state before the first step for an input like `i` [T, B, ...]."""

    @abstractmethod
    def run(
        self, i: Any, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
    ) -> LayerOutput:
        """Run as `forward` does, and record the values named in `record` at every step, without gradient."""

    def forward(self, i: Any, state: State | None = None, *, through_time: bool = True) -> tuple[Tensor, Any]:
        """Run the neurons over time.

        Parameters
        ----------
        i : Tensor [T, B, ...], or mapping of str to Tensor [T, B, ...]
            Input at each step: a tensor if there is one input port, else a mapping from ports to tensors.
        state : NamedTuple of Tensor, optional
            State to start from; None is the initial state.
        through_time : bool
            Without it the gradient is cut between any two steps (spatial learning through time).

        Returns
        -------
        out : Tensor [T, B, ...]
            Spikes 0/1, or the membrane of a model that does not spike.
        state : NamedTuple of Tensor
            State after the last step.

        Raises
        ------
        ShapeError
            When i or state do not fit.
        """
        result = self.run(i, state, (), through_time=through_time)
        return result.out, result.state

    def _check_current(self, i: Any, port: str = "i") -> None:
        """Check the input of a port, and that the step is set."""
        if not self.has_dt:
            raise self.no_dt()
        if not isinstance(i, Tensor) or i.dim() < 2:
            got = f"shape {list(i.shape)}" if isinstance(i, Tensor) else type(i).__name__
            raise ShapeError(
                f"{self.kind}: {port} must be a tensor [T, B, ...]; got {got}. Time comes first, then the batch."
            )
        if not i.is_floating_point():
            got = f"got {i.dtype}. Use {port}.float()"
            raise InputError(f"{self.kind}: {port} must be a current in floating point; {got}.")
        if self.size is not None and tuple(i.shape[2:]) != self.size:
            shape = f"[T, B, {', '.join(map(str, self.size))}]"
            raise ShapeError(f"{self.kind}: {port} must be {shape}; got {list(i.shape)}.")

    def _check_device(self, name: str, value: Tensor, i: Tensor) -> None:
        if value.device != i.device:
            raise InputError(f"{self.kind}: {name} is on {value.device}, i on {i.device}; move one with .to().")


class Uncalled(nn.Module):
    """A node that is never called as a module, so that hooks are refused."""

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise InputError(
            f"{type(self).__name__} is not called as a module, so that a hook would never run; register it on the "
            "network, on a population or on a synapse."
        )

    register_forward_hook = register_forward_pre_hook = _refuse
    register_full_backward_hook = register_full_backward_pre_hook = register_backward_hook = _refuse


def has_hooks(module: nn.Module) -> bool:
    """Whether a call of a module runs hooks, forward or backward, or a `forward` that was set on the module itself."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module)


def checked_size(kind: str, size: Any) -> tuple[int, ...] | None:
    """Return the shape of a population as a tuple, or None.

    Raises
    ------
    InputError
        For what is no integer from 1, and no sequence of such.
    """
    if size is None:
        return None
    sizes = (size,) if isinstance(size, int) else size
    if not isinstance(sizes, Sequence) or isinstance(sizes, str) or not sizes:
        raise InputError(f"{kind}: size must be an integer from 1, or a tuple of such; got {size!r}.")
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise InputError(f"{kind}: size must hold integers from 1; got {size!r}.")
    return tuple(sizes)
