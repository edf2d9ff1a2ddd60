"""e-prop: gradients of recurrent networks from eligibility traces and a learning signal, forward in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.learning.losses.base import Loss, Steps, check_per_step
from neurosim.learning.rules.base import Backward, Forward, Rule, check_number, check_steps
from neurosim.learning.rules.eligibility import Eligibility, accumulate, as_network, linear
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.network import Network
from neurosim.network.portability import refuse_sources


class Feedback(nn.Module):
    """Separate synapses that carry the error to the neurons, instead of the transposed weights of the readout.

    Add them to the network, ``net.add_module("feedback", feedback)``, so that its checkpoints contain them and `fit`
    trains those that learn.

    Parameters
    ----------
    net : Network
        Each of its edges to the output gets one matrix, in the order of ``net.edges``.
    adaptive : bool
        Whether they learn, with the gradient of the readout's weights; otherwise they stay fixed. With a weight decay
        on both, the two converge to each other.
    scale : float
        Standard deviation of the entries, times sqrt(neurons).
    generator : torch.Generator, optional
        Source of the entries.

    Attributes
    ----------
    matrices : ParameterDict of Parameter [K, N]
        By name of the edge.
    """

    def __init__(
        self, net: Network, *, adaptive: bool = False, scale: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.adaptive = adaptive
        self.matrices = nn.ParameterDict()
        for edge in _to_output(net):
            weight = linear("Feedback", edge).weight
            drawn = torch.randn(weight.shape, generator=generator).to(weight) * (scale / math.sqrt(weight.shape[1]))
            self.matrices[edge.name] = nn.Parameter(drawn, requires_grad=adaptive)

    def __repr__(self) -> str:
        return f"Feedback(adaptive={self.adaptive})"


@dataclass(frozen=True)
class EProp(Rule):
    r"""e-prop: :math:`\nabla W_{ji} = \sum_t L_j[t]\, \bar e_{ji}[t]`, every term known at step t.

    .. math:: L_j[t] = \sum_k B_{jk} \frac{\partial E}{\partial y_k[t]}, \quad
              \bar e_{ji}[t] = \kappa \bar e_{ji}[t-1] + e_{ji}[t], \quad
              e_{ji}[t] = \psi_j[t] \left(\epsilon^v_{ji}[t] - \beta \epsilon^a_{ji}[t]\right)

    .. math:: \epsilon^v_{ji}[t] = \alpha \epsilon^v_{ji}[t-1] + s_i[t], \quad
              \epsilon^a_{ji}[t+1] = \psi_j[t] \epsilon^v_{ji}[t] + (\rho - \psi_j[t] \beta) \epsilon^a_{ji}[t]

    with :math:`\psi` the surrogate derivative and :math:`\kappa` the decay of the readout, whose gain
    :math:`(1 - \kappa) r` is part of B here. This is the gradient with the spikes between neurons constant; that of
    readout weights is exact. The traces are computed from the core's step function, so any core can be used (LIF and
    ALIF are those of the paper); its reset has a gradient only with ``detach_reset=False``.

    The network: `Linear` edges of any delay among inputs and populations, and an output `LI` that each population
    reaches without delay. Parameters of neurons are not trained. There is no refractory period, and a reset acts in
    the step of its spike; in the authors' programs it acts one step later.

    Parameters
    ----------
    feedback : Feedback, optional
        B, fixed or learned; by default symmetric feedback, the weights of the readout.
    rate_weight : float
        Weight c of the loss :math:`\frac c2 \sum_j (f_j - f^*)^2` on mean rates; not part of the value returned.
    rate : float
        Target rate :math:`f^*`, Hz.
    chunk : int
        Steps per call of the network. A longer chunk is faster, uses more memory and gives the same gradient.

    Raises
    ------
    InputError
        When a number is out of range; in `gradients`, when the network or the loss is not of this kind.

    References
    ----------
    Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
    Communications 11, 2020, doi:10.1038/s41467-020-17236-y.
    """

    feedback: Feedback | None = None
    rate_weight: float = 0.0
    rate: float = 10.0
    chunk: int = 64

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("EProp", "chunk", self.chunk)
        for name, value in (("rate_weight", self.rate_weight), ("rate", self.rate)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"EProp({name}={value}): a finite number from 0 up.")

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
        """Run chunk by chunk and add the gradient of each; see `Rule.gradients`."""
        network, steps = as_network("EProp", net), check_steps(x)
        kappa, gain = _check(self, network, loss)
        readout = Eligibility("EProp", network, network.output)
        hidden = {n: Eligibility("EProp", network, n, kappa) for n in network.populations() if n != network.output}
        rates = {name: _Rates() for name in hidden} if self.rate_weight else {}
        state: NetworkState | None = None
        total, outputs = torch.zeros((), device=x.device), []
        for start in range(0, steps, self.chunk):
            part = x[start : start + self.chunk]
            with torch.no_grad():
                y, after, values, *_ = network.run(part, state, tuple(hidden))
            sent = {network.inputs[0]: part, **values}
            y = y.detach().requires_grad_()
            value = loss.over(y, target, Steps(start, steps)) * (len(part) / steps)
            backward(value)
            readout.run(readout.arriving(sent, state), state and state.nodes[network.output])
            assert y.grad is not None
            gradient, error, (old_error,) = readout.learn(y.grad)
            readout.add(gradient)
            for name, synapses in hidden.items():
                z = synapses.run(synapses.arriving(sent, state), state and state.nodes[name])
                feedback = self._feedback(network, name)
                synapses.add(synapses.learn(error @ feedback, gain * (old_error @ feedback))[0])
                if name in rates:
                    rates[name].add(z, synapses.learn(torch.ones_like(z))[0])
            if start + self.chunk < steps:
                for synapses in (readout, *hidden.values()):
                    synapses.advance()
            state = after
            total = total + value.detach()
            outputs.append(y.detach())
        for name, mean in rates.items():
            hidden[name].add(mean.gradient(self.rate_weight, self.rate, network.dt))
        self._adapt(network, readout)
        for synapses in (readout, *hidden.values()):
            synapses.finish()
        return total, torch.cat(outputs)

    def state_dict(self) -> dict[str, Any]:
        """Return the feedback synapses; see `Rule.state_dict`."""
        return {} if self.feedback is None else {"feedback": dict(self.feedback.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`."""
        own = self.state_dict().get("feedback", {})
        saved = state.get("feedback", {})
        if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in saved.items()}:
            raise InputError(f"the feedback belongs to another network: {list(saved)}; here {list(own)}.")
        if self.feedback is not None:
            self.feedback.load_state_dict(saved)

    def _feedback(self, net: Network, name: str) -> Tensor:
        """Return the matrix [K, N] that carries errors of the readout's currents to a population."""
        edges = [edge for edge in _to_output(net) if edge.source == name]
        if self.feedback is None:
            matrices = [linear("EProp", edge).weight for edge in edges]
        else:
            matrices = [self.feedback.matrices[edge.name] for edge in edges]
        return torch.stack([matrix.detach() for matrix in matrices]).sum(0)

    def _adapt(self, net: Network, readout: Eligibility) -> None:
        """Add the gradient of the readout weights to matrices that learn."""
        if self.feedback is None or not self.feedback.adaptive:
            return
        assert readout.gradient is not None
        at = 0
        for edge, synapse in zip(readout.edges, readout.synapses, strict=True):
            if edge.name in self.feedback.matrices:
                accumulate(self.feedback.matrices[edge.name], readout.gradient[:, at : at + synapse.n_in])
            at += synapse.n_in + (synapse.bias is not None)


class _Rates:
    """Mean rates and summed eligibilities of a run, for the gradient of the rate loss."""

    def __init__(self) -> None:
        self.trials, self.steps = 0, 0
        self.spikes: Tensor | float = 0.0
        self.eligibility: Tensor | float = 0.0

    def add(self, z: Tensor, eligibility: Tensor) -> None:
        self.steps, self.trials = self.steps + z.shape[0], z.shape[1]
        self.spikes, self.eligibility = self.spikes + z.sum((0, 1)), self.eligibility + eligibility

    def gradient(self, weight: float, rate: float, dt: float) -> Tensor:
        each = 1.0 / (self.steps * self.trials * dt)
        gradient = (weight * (self.spikes * each - rate) * each).unsqueeze(1) * self.eligibility  # type: ignore[union-attr]
        assert isinstance(gradient, Tensor)
        return gradient


def _to_output(net: Network) -> list[Connection]:
    """Return the edges from populations to the output."""
    return [edge for edge in net.edges if edge.target == net.output and edge.source not in net.inputs]


def _check(rule: EProp, net: Network, loss: Loss) -> tuple[float, float]:
    """Return decay and gain of the readout of a network that e-prop can train."""
    check_per_step("EProp", loss)
    if len(net.inputs) != 1:
        raise InputError(f"EProp needs a network with one input; this one has {list(net.inputs)}.")
    refuse_sources(net, "EProp")
    out = net.neurons()[net.output]
    if out.core.name != "leaky_integrator" or not isinstance(out.value("tau_mem"), float):
        raise InputError(f"EProp: the output {net.output!r} must be LI with one plain tau_mem; it is {out.core.name}.")
    gains = out.value("r")
    if not isinstance(gains, float):
        raise InputError(f"EProp: the output {net.output!r} must have one plain r; it has one for each neuron.")
    for edge in net.edges:
        if edge.source == net.output:
            raise InputError(f"EProp: edge {edge.name!r} leaves the output, which must only be read.")
    for name in net.populations():
        ways = [edge for edge in _to_output(net) if edge.source == name]
        if name != net.output and (not ways or any(edge.delay_steps for edge in ways)):
            raise InputError(f"EProp: {name!r} must have an edge to {net.output!r} without delay, for its error.")
    if rule.feedback is not None:
        missing = [edge.name for edge in _to_output(net) if edge.name not in rule.feedback.matrices]
        if missing:
            raise InputError(f"EProp: the feedback has no matrix for {missing}. Make it from this network.")
    decay = out.decay("tau_mem")
    assert isinstance(decay, float)
    return decay, (1.0 - decay) * gains
