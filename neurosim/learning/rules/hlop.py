"""Learning task after task without forgetting: updates at right angles to what earlier tasks used."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurosim.errors import InputError, ShapeError
from neurosim.learning.losses import Loss
from neurosim.learning.rules.base import Backward, Forward, Rule
from neurosim.learning.rules.ottt import OTTT
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Conv1d, Conv2d, Linear, Synapse
from neurosim.synapses.lateral import LateralBank, Quantised


class LateralBanks(nn.Module):
    """A bank of lateral neurons for each map with weights of a network.

    The bank of a `Linear` looks at the spikes before it; that of a `Conv1d` or `Conv2d` at the patches its kernel sees.

    Parameters
    ----------
    net : Network
        Whose weights are trained. Its synapses with weights must be `Linear`, `Conv1d` or `Conv2d` without groups.
    rate : float or mapping of str to float
        Learning rate of the lateral neurons: one for all, or one for each bank by its name.
    momentum, iterations, limit
        As in `LateralBank`.
    spiking : Quantised, optional
        Makes the lateral neurons spiking.

    Attributes
    ----------
    banks : dict-like of str to LateralBank
        By the name of the edge, and ``"edge/1"`` and so on for maps that are not the first of their edge.

    Raises
    ------
    InputError
        For synapses that have no bank, or that stand on two edges; for names that are not those of the banks.

    Notes
    -----
    The banks are no part of the network: a checkpoint of it leaves them out. Keep `state_dict()` beside it, and load
    it into banks made the same way; the number of rows is read from it.
    """

    def __init__(
        self,
        net: Network,
        *,
        rate: float | Mapping[str, float] = 0.01,
        momentum: float = 0.9,
        iterations: int = 5,
        limit: float = 10.0,
        spiking: Quantised | None = None,
    ) -> None:
        super().__init__()
        self.spiking = spiking
        self._net = (net,)  # in a tuple, so that the network does not become a part of the banks
        self._places = _places(net)
        if isinstance(rate, Mapping):
            self._check_names("rate", rate)
        self.banks = nn.ModuleDict()
        for place in self._places:
            weight: Tensor = place.synapse.weight
            self.banks[place.name] = LateralBank(
                weight[0].numel(),
                rate=rate[place.name] if isinstance(rate, Mapping) else rate,
                momentum=momentum,
                iterations=iterations,
                limit=limit,
                spiking=spiking,
            ).to(weight)

    @property
    def protects(self) -> bool:
        """Whether there are frozen rows, those of tasks before."""
        return any(bank.frozen for _, bank in self.each())

    def each(self) -> Iterator[tuple[_Place, LateralBank]]:
        """Yield each map with its bank, in order of the network's edges."""
        for place in self._places:
            bank = self.banks[place.name]
            assert isinstance(bank, LateralBank)
            yield place, bank

    def begin_task(self, rows: int | Sequence[int] | Mapping[str, int]) -> None:
        """Freeze what was learnt so far and add lateral neurons for the task that comes.

        Parameters
        ----------
        rows : int, sequence of int or mapping of str to int
            How many: for every bank, for each in the order of `banks`, or for each by its name.
        """
        if isinstance(rows, Mapping):
            self._check_names("rows", rows)
            numbers = [rows[name] for name in self.banks]
        else:
            numbers = [rows] * len(self.banks) if isinstance(rows, int) else list(rows)
        if len(numbers) != len(self.banks):
            raise InputError(f"rows must give a number for each of the banks {list(self.banks)}; got {rows!r}.")
        for (_, bank), number in zip(self.each(), numbers, strict=True):
            bank.freeze()
            bank.grow(number)

    def unprotected(self) -> list[nn.Parameter]:
        """Return the parameters of the network that no bank protects: biases, what neurons learn."""
        held = {id(place.synapse.weight) for place in self._places}
        return [parameter for parameter in self._net[0].parameters() if id(parameter) not in held]

    def _check_names(self, what: str, given: Mapping[str, Any]) -> None:
        names = [place.name for place in self._places]
        if set(given) != set(names):
            raise InputError(f"{what} must name the banks {names}; got {list(given)}.")


@dataclass(frozen=True, eq=False)
class HLOP(Rule):
    r"""Hebbian-learning-based orthogonal projection: another rule, made to keep to what earlier tasks left free.

    Beside each layer lateral neurons learn the subspace in which its inputs x lie (`LateralBank`). From the second
    task on the gradient of its weights takes only the part of x outside that of the tasks before,

    .. math:: \nabla W = \sum \delta\, x_\perp^\top, \quad x_\perp = x - H^\top H x

    with H the frozen rows; the forward pass and what is sent backward stay as they are. With orthonormal rows
    :math:`W x` does not change for any x that they explain, whatever is learnt. Under `OTTT` the trace of x stands
    for x, and the lateral neurons learn from the spikes and from their traces.

    Parameters of the network that no bank protects, such as biases, get no gradient any more once there are frozen
    rows. Use an optimizer without weight decay, and a new one for each task if it has momentum: both would bring
    directions of earlier tasks back.

    Parameters
    ----------
    rule : Rule
        What finds the gradients: `BPTT`, `SLTT`, `OTTT`.
    banks : LateralBanks
        The lateral neurons of the network that is trained. `banks.begin_task(rows)` comes before each task.
    project : {"gradients", "inputs"}, optional
        Where the projection is made. With real lateral neurons both are the same,
        :math:`\nabla W (1 - H^\top H)`, and the first, the default, costs far less. Spiking ones round their response
        to the inputs, so that only the second is theirs; it is their default.

    Raises
    ------
    InputError
        For another choice, or spiking lateral neurons with ``project="gradients"``.

    References
    ----------
    Xiao et al., "Hebbian learning based orthogonal projection for continual learning of spiking neural networks",
    ICLR 2024, arXiv:2402.11984, and the authors' program. There the lateral neurons of the OTTT variant learn after
    each time step, and quantised ones answer to the trace; here they learn once a batch, and the trace is that of
    what they leave of the spikes.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.learning.rules.hlop import HLOP, LateralBanks
    >>> net = ns.Sequential(ns.Linear(20, 10), ns.LIF(dt=1e-3), ns.Linear(10, 3), ns.LI(dt=1e-3))
    >>> banks = LateralBanks(net)
    >>> rule = HLOP(ns.BPTT(), banks)
    >>> for task in range(2):
    ...     banks.begin_task([6, 4])
    ...     data = [(torch.rand(5, 8, 20), torch.randint(3, (8,)))]
    ...     optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    ...     history = ns.fit(net, data, rule=rule, optimizer=optimizer, epochs=1, progress=False)
    >>> banks
    LateralBanks(
      (banks): ModuleDict(
        (input->lif1): LateralBank(20, rows=12, frozen=6, rate=0.01)
        (lif1->leaky_integrator2): LateralBank(10, rows=8, frozen=4, rate=0.01)
      )
    )
    """

    rule: Rule
    banks: LateralBanks = field(repr=False)
    project: Literal["gradients", "inputs"] | None = None

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.project not in (None, "gradients", "inputs"):
            raise InputError(f'HLOP: project must be "gradients", "inputs" or None; got {self.project!r}.')
        if self.project == "gradients" and self.banks.spiking is not None:
            raise InputError(
                "HLOP: spiking lateral neurons answer to inputs, and would round gradients away; "
                'leave out project, or give project="inputs".'
            )

    def gradients(
        self,
        net: Forward,
        x: Tensor,
        target: Tensor,
        loss: Loss,
        generator: torch.Generator | None = None,
        *,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor]:
        """Find the rule's gradients, project them, and let the lateral neurons learn; see `Rule.gradients`."""
        at_inputs = self.project == "inputs" or self.banks.spiking is not None
        weights = [place.synapse.weight for place, _ in self.banks.each()]
        others = self.banks.unprotected()
        before = [parameter.grad for parameter in (*weights, *others)]
        for parameter in (*weights, *others):
            parameter.grad = None
        protects = self.banks.protects
        with _watched(self.banks, isinstance(self.rule, OTTT), protects and at_inputs) as seen:

            def quietly(value: Tensor) -> Any:
                # What runs again on the way back was learnt from already.
                with seen.paused():
                    return backward(value)

            found = self.rule.gradients(net, x, target, loss, generator, backward=quietly)
        if protects:
            for place, bank in self.banks.each():
                if place.synapse.weight.grad is not None and not at_inputs:
                    flat = place.synapse.weight.grad.flatten(1)
                    flat.copy_(bank.orthogonal(flat))
            for parameter in others:
                parameter.grad = None
        for parameter, old in zip((*weights, *others), before, strict=True):
            if old is not None:
                parameter.grad = old if parameter.grad is None else old.add_(parameter.grad)
        seen.learn()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the lateral neurons and what the rule inside holds; see `Rule.state_dict`."""
        return {"banks": dict(self.banks.state_dict()), "rule": self.rule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` returned; the banks get as many rows as they had."""
        rows = {name: tuple(value.shape[1:]) for name, value in self.banks.state_dict().items()}
        saved = {name: tuple(value.shape[1:]) for name, value in state["banks"].items()}
        if rows != saved:
            raise InputError(f"the lateral neurons are beside other layers: {list(saved)}, here {list(rows)}.")
        self.rule.load_state_dict(state["rule"])
        self.banks.load_state_dict(state["banks"])


def average_accuracy(matrix: Tensor | Sequence[Sequence[float]]) -> float:
    """Return ACC, the mean accuracy on all tasks after the last was learnt.

    Parameters
    ----------
    matrix : Tensor [K, K] or nested sequence
        Row i holds the accuracy on each task after learning task i; what stands right of the diagonal is not read.
    """
    return float(_square(matrix)[-1].mean())


def backward_transfer(matrix: Tensor | Sequence[Sequence[float]]) -> float:
    """Return BWT, the mean over all tasks but the last of what came after learning them; below 0 is forgetting.

    Parameters
    ----------
    matrix : Tensor [K, K] or nested sequence
        As in `average_accuracy`, with K from 2.
    """
    accuracy = _square(matrix)
    if len(accuracy) < 2:
        raise InputError("backward transfer needs two tasks or more; got one.")
    return float((accuracy[-1] - accuracy.diagonal())[:-1].mean())


def _square(matrix: Tensor | Sequence[Sequence[float]]) -> Tensor:
    accuracy = torch.as_tensor(matrix, dtype=torch.float64)
    if accuracy.dim() != 2 or not len(accuracy) or accuracy.shape[0] != accuracy.shape[1]:
        raise ShapeError(f"the accuracies must be a matrix [tasks, tasks]; got {list(accuracy.shape)}.")
    return accuracy


class _Place(NamedTuple):
    """One map with weights: its name, itself, and the decay of the membranes it leads to where they share one."""

    name: str
    synapse: Linear | Conv1d | Conv2d
    decay: float | None


def _places(net: Network) -> list[_Place]:
    places: list[_Place] = []
    for edge in net.edges:
        for number, synapse in enumerate(edge.synapses):
            if not any(True for _ in synapse.parameters()):
                continue
            name = f"{edge.name}/{number}" if number else edge.name
            if not isinstance(synapse, (Linear, Conv1d, Conv2d)):
                raise InputError(
                    f"edge {edge.name!r}: {type(synapse).__name__} has no bank of lateral neurons; "
                    "use Linear, Conv1d or Conv2d."
                )
            if isinstance(synapse, (Conv1d, Conv2d)) and synapse.groups > 1:
                raise InputError(
                    f"edge {edge.name!r}: a convolution with groups={synapse.groups} sees several kinds of patches; "
                    "a bank of lateral neurons needs groups=1."
                )
            if any(place.synapse is synapse for place in places):
                raise InputError(f"edge {edge.name!r}: its synapses stand on another edge too; give each edge its own.")
            target = net.nodes[edge.target]
            timed = isinstance(target, Neuron) and "tau_mem" in target.core.parameters
            decay = target.decay("tau_mem") if timed and isinstance(target, Neuron) else None
            places.append(_Place(name, synapse, decay if isinstance(decay, float) else None))
    return places


def _samples(synapse: Synapse, x: Tensor) -> Tensor:
    """Return what the rows of a map's weights meet: inputs or patches of `x` [T, B, ...] as [T B, places, n]."""
    rows = x.flatten(0, 1)
    if isinstance(synapse, Conv1d):
        (kernel,), (stride,), (padding,), (dilation,) = (
            synapse.kernel,
            synapse.stride,
            synapse.padding,
            synapse.dilation,
        )
        rows = rows.unsqueeze(2)
        return functional.unfold(rows, (1, kernel), (1, dilation), (0, padding), (1, stride)).transpose(1, 2)
    if isinstance(synapse, Conv2d):
        return functional.unfold(rows, synapse.kernel, synapse.dilation, synapse.padding, synapse.stride).transpose(
            1, 2
        )
    return rows.unsqueeze(1)


class _Seen:
    """What the lateral neurons see while a rule runs the network."""

    def __init__(self, banks: LateralBanks, traced: bool, project: bool) -> None:
        self.banks, self.traced, self.project = banks, traced, project
        self.listening = True
        self.traces: dict[str, Tensor] = {}
        # Real lateral neurons learn from the second moment of all samples, of a size that T does not change.
        self.moments: dict[str, tuple[Tensor, int]] = {}
        self.samples: dict[str, list[Tensor]] = {}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Learn nothing from what runs inside."""
        self.listening = False
        try:
            yield
        finally:
            self.listening = True

    def hook(
        self, place: _Place, bank: LateralBank, synapse: nn.Module, inputs: tuple[Any, ...], current: Tensor
    ) -> Tensor | None:
        """Note the input of a map; where inputs are projected, take what is explained out of its weights' gradient."""
        with torch.no_grad():
            x: Tensor = inputs[0].detach()
            if self.listening:
                self._note(place, bank, x)
            if not self.project or not place.synapse.weight.requires_grad:
                return None
            explained = bank.explained(_samples(place.synapse, x).to(bank.weight.dtype))
        return _Without.apply(current, explained, place.synapse.weight)

    def _note(self, place: _Place, bank: LateralBank, x: Tensor) -> None:
        if bank.frozen == len(bank.weight):
            return
        self._keep(place, bank, x)
        if self.traced and place.decay is not None:
            trace = self.traces.get(place.name)
            steps = []
            for step in x:
                trace = step.clone() if trace is None else place.decay * trace + step
                steps.append(trace)
            if trace is not None:
                self.traces[place.name] = trace
                self._keep(place, bank, torch.stack(steps))

    def _keep(self, place: _Place, bank: LateralBank, x: Tensor) -> None:
        samples = _samples(place.synapse, x).flatten(0, 1).to(bank.weight.dtype)
        if bank.spiking is not None:
            self.samples.setdefault(place.name, []).append(samples)
            return
        total, number = self.moments.get(place.name, (samples.new_zeros(bank.inputs, bank.inputs), 0))
        self.moments[place.name] = (total.addmm_(samples.T, samples), number + len(samples))

    def learn(self) -> None:
        """Let each bank learn from all that was seen."""
        for place, bank in self.banks.each():
            if place.name in self.samples:
                bank.learn(torch.cat(self.samples[place.name]))
            elif place.name in self.moments:
                total, number = self.moments[place.name]
                if number:
                    bank.learn_moment(total / number)


@contextlib.contextmanager
def _watched(banks: LateralBanks, traced: bool, project: bool) -> Iterator[_Seen]:
    """Let the lateral neurons see all that enters the maps of their network."""
    seen = _Seen(banks, traced, project)
    with contextlib.ExitStack() as stack:
        for place, bank in banks.each():
            hook: Callable[..., Tensor | None] = functools.partial(seen.hook, place, bank)
            stack.callback(place.synapse.register_forward_hook(hook).remove)
        yield seen


class _Without(torch.autograd.Function):
    """The current as it is; of the gradient of its weights, ``- delta x^T`` for the inputs given."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.shape, ctx.dtype = weight.shape, weight.dtype
        return current.view_as(current)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (inputs,) = ctx.saved_tensors
        # g [T, B, out, places...] against inputs [T B, places, n].
        delta = g.flatten(0, 1).flatten(2) if g.dim() > 3 else g.flatten(0, 1).unsqueeze(2)
        product = torch.einsum("rop,rpn->on", delta.to(inputs.dtype), inputs)
        return g, None, -product.view(ctx.shape).to(ctx.dtype)
