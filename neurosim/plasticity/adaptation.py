"""Adaptation at test time, without labels: soft Hebbian learning of the first weights and an entropy on their scale."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.network.network import Network
from neurosim.plasticity.pairs import warn_of_zeros
from neurosim.synapses import BatchNorm, Conv1d, Conv2d, Linear


class NeuromodulatedAdaptation:
    r"""Adapt a trained network to each test batch, in the manner of neuro-modulated Hebbian learning.

    For each batch, without its classes,

    1. statistics of all `BatchNorm` are those of the batch;
    2. the weights of one edge learn from the mean input :math:`\bar x` of each sample over time, with channels
       competing at each position, :math:`\Delta w_k = \eta\,\langle y_k (\bar x - u_k w_k) \rangle` with
       :math:`u = W \bar x` and :math:`y = \mathrm{softmax}(t\,u)`;
    3. the network runs, and scale and shift of the `BatchNorm` behind these weights, the modulator, make one gradient
       step on the mean entropy :math:`-\sum_c p_c \log p_c` of its predictions, p being the softmax of the mean output
       over time.

    Everything else stays unchanged. Only the outline of the published method is public to us: a soft Hebbian rule on
    the first convolution, and a modulator of its responses that follows the entropy. **These equations are our reading
    of it, not the authors'**; without step 2 it is entropy minimisation (Tent) of one layer.

    Parameters
    ----------
    net : Network
        Trained. It is changed in place.
    edge : str
        Edge whose synapses begin with Linear, Conv1d or Conv2d and an affine `BatchNorm`.
    rate : float
        :math:`\eta`, from 0; 0 omits step 2.
    inverse_temperature : float
        t, above 0.
    modulation : float
        Learning rate of Adam on the modulator, from 0; 0 omits step 3.
    statistics : bool
        Whether statistics are those of the batch (step 1) or the running ones.

    Raises
    ------
    InputError
        For a number out of range, or another edge.

    References
    ----------
    Tang et al., "Neuro-modulated Hebbian learning for fully test-time adaptation", CVPR 2023, arXiv:2303.00914 (see
    above). Wang et al., "Tent: fully test-time adaptation by entropy minimization", ICLR 2021, arXiv:2006.10726.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.plasticity import NeuromodulatedAdaptation
    >>> from neurosim.synapses import BatchNorm
    >>> net = ns.Sequential(
    ...     ns.Linear(6, 5), BatchNorm(5), ns.LIF(dt=1e-3), ns.Linear(5, 2), ns.LI(dt=1e-3), names=("one", "out")
    ... )
    >>> adapted = NeuromodulatedAdaptation(net, "input->one")
    >>> adapted(torch.rand(10, 8, 6)).shape
    torch.Size([10, 8, 2])
    """

    def __init__(
        self,
        net: Network,
        edge: str,
        *,
        rate: float = 1e-3,
        inverse_temperature: float = 1.0,
        modulation: float = 1e-3,
        statistics: bool = True,
    ) -> None:
        for name, value in (("rate", rate), ("modulation", modulation)):
            if not 0 <= value < math.inf:
                raise InputError(f"NeuromodulatedAdaptation: {name} must be a number from 0; got {value!r}.")
        if not 0 < inverse_temperature < math.inf:
            raise InputError(
                f"NeuromodulatedAdaptation: inverse_temperature must be a number above 0; got {inverse_temperature!r}."
            )
        edges = {each.name: each for each in net.edges}
        if edge not in edges:
            raise InputError(f"no edge {edge!r}; this network has {list(edges)}.")
        self.source = edges[edge].source
        synapses = edges[edge].synapses
        weights, norm = synapses[0], synapses[1] if len(synapses) > 1 else None
        if not isinstance(weights, (Linear, Conv1d, Conv2d)) or not isinstance(norm, BatchNorm) or norm.weight is None:
            kinds = ", ".join(type(each).__name__ for each in synapses)
            raise InputError(
                f"edge {edge!r}: Linear, Conv1d or Conv2d followed by an affine BatchNorm is needed; got {kinds}."
            )
        if self.source not in net.inputs:
            raise InputError(f"edge {edge!r}: its weights must be the first, after an Input; got {self.source!r}.")
        if rate:
            warn_of_zeros(f"edge {edge!r}", weights.weight)
        self.net, self.weights, self.norm = net, weights, norm
        self.rate, self.inverse_temperature, self.statistics = rate, inverse_temperature, statistics
        modulator = [p for p in (norm.weight, norm.bias) if p is not None]
        self.optimizer = torch.optim.Adam(modulator, modulation) if modulation else None

    def hebbian(self, x: Tensor) -> Tensor:
        """Return the change of the weights from inputs `x` [T, B, ...], before the rate."""
        mean = x.mean(0, keepdim=True)
        weight = self.weights.weight.detach().requires_grad_()
        with torch.enable_grad():
            u = self.weights.product(mean[0], weight)
            y = torch.softmax(self.inverse_temperature * u.detach(), 1)
            (correlation,) = torch.autograd.grad((y * u).sum(), weight)
        shares = (y * u.detach()).transpose(0, 1).flatten(1).sum(1)
        change = correlation - shares.view(-1, *[1] * (weight.dim() - 1)) * weight.detach()
        return change / (u.numel() / len(weight))

    def __call__(self, x: Tensor) -> Tensor:
        """Adapt to a batch and return the network's output for it.

        Parameters
        ----------
        x : Tensor [T, B, ...]
            Inputs of the test batch.

        Returns
        -------
        Tensor [T, B, C]
            Output after the Hebbian step and before that of the modulator, which acts on the next batch.
        """
        if self.rate:
            with torch.no_grad():
                self.weights.weight.add_(self.hebbian(x), alpha=self.rate)
        with self._as_tested(), torch.set_grad_enabled(self.optimizer is not None):
            output, _ = self.net(x)
            if self.optimizer is not None:
                entropy = torch.special.entr(torch.softmax(output.mean(0), 1)).sum(1).mean()
                modulator = self.optimizer.param_groups[0]["params"]
                for parameter, g in zip(modulator, torch.autograd.grad(entropy, modulator), strict=True):
                    parameter.grad = g
                self.optimizer.step()
                self.optimizer.zero_grad()
        return output.detach()

    @contextlib.contextmanager
    def _as_tested(self) -> Iterator[None]:
        """Context of a run in evaluation mode, with statistics of the batch if chosen; running ones stay."""
        modes = [(module, module.training) for module in self.net.modules()]
        norms = [module for module in self.net.modules() if isinstance(module, BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        self.net.eval()
        try:
            for norm in norms if self.statistics else []:
                norm.train()
                norm.momentum = 0.0
            yield
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
            for module, mode in modes:
                module.training = mode

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the modulator's optimizer; the weights are in the network."""
        return {} if self.optimizer is None else {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`."""
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
