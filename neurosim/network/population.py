"""The interface of a node that is a population of neurons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.units import check_dt

State = tuple[Tensor, ...]
Inputs = Tensor | Mapping[str, Tensor]


class Population(nn.Module, ABC):
    """A population of neurons: current and state in, spikes (or a membrane) and the next state out.

    `Neuron` steps through time; the layers of `neurosim.parallel` work on all steps at once.

    Parameters
    ----------
    kind : str
        Name of the model, in messages and in reports.
    dt : float
        Length of a step, s, in (0, 0.1).
    size : int or tuple of int, optional
        Shape of the population, if it is fixed.
    """

    def __init__(self, kind: str, dt: float, size: int | Sequence[int] | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.dt = check_dt(kind, dt)
        self.size = None if size is None else (size,) if isinstance(size, int) else tuple(size)

    @property
    @abstractmethod
    def is_spiking(self) -> bool:
        """Whether the output is spikes (else it is a membrane)."""

    @property
    def ports(self) -> Mapping[str, float | None]:
        """Input ports: the value of each where nothing feeds it, or None if it must be fed."""
        return {"i": None}

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
        """Check the input of a port."""
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
