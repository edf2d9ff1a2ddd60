"""Base of the parallel spiking neurons: a membrane that is linear in the input, and a threshold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from neurosim.cores import threshold
from neurosim.errors import InputError, ShapeError
from neurosim.kernels.common.availability import DTYPES
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.language import Surrogate
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population, State


class ParallelNeurons(Population):
    """Neurons whose membrane at all steps is one linear map of the input at all steps.

    Parameters
    ----------
    kind : str
        Name of the model.
    dt : float, optional
        Length of a step, s, in (0, 0.1); that of its network if left out.
    size : int or tuple of int, optional
        Shape of the population, if it is to be checked.
    spike : Surrogate, optional
        Spike with the derivative used in training; ``atan()`` by default.
    """

    v_th: nn.Parameter

    def __init__(self, kind: str, dt: float | None, size: int | Sequence[int] | None, spike: Surrogate | None) -> None:
        super().__init__(kind, dt, size)
        self.fire = Neuron(threshold, dt=dt, spike=spike, reset=None, v_th=0.0)

    @property
    def is_spiking(self) -> bool:
        """True: the output is spikes."""
        return True

    def run(
        self, i: Tensor, state: State | None = None, record: Sequence[str] = (), *, through_time: bool = True
    ) -> LayerOutput:
        """Run as `forward` does, and record the values named in `record` at every step.

        Parameters
        ----------
        i, state, through_time
            As in `forward`.
        record : sequence of str
            ``"h"``, the membrane, is the only one.
        """
        self._check_current(i)
        wrong = [name for name in record if name != "h"]
        if wrong:
            raise InputError(f"{self.kind}: cannot record {wrong}; this layer has ['h'].")
        self._check_device("v_th", self.v_th, i)
        single = i if i.dtype in DTYPES else i.float()
        start = self.initial_state(i) if state is None else self._checked_state(state, i)
        distance, after = self._distance(single, start, through_time)
        z, _ = self.fire(distance)
        v_th = self.v_th.detach().to(distance.dtype)
        h = {name: distance.detach() + v_th.reshape(-1, *[1] * (i.dim() - 1)) for name in record}
        return LayerOutput(z.to(i.dtype), after, h)

    @abstractmethod
    def _distance(self, i: Tensor, state: Any, through_time: bool) -> tuple[Tensor, Any]:
        """Return the membrane minus the threshold [T, B, ...], and the state after the last step."""

    def _checked_state(self, state: State, i: Tensor) -> State:
        model: Any = self.initial_state(i)
        if len(state) != len(model):
            raise ShapeError(f"{self.kind}: state must hold {list(model._fields)}; got {len(state)} tensor(s).")
        for name, value in zip(model._fields, state, strict=True):
            self._check_device(f"state.{name}", value, i)
        return type(model)(*state)

    def extra_repr(self) -> str:
        """Return the arguments of this layer."""
        return f"{self._dt_text()}, spike={self.fire.spike}"
