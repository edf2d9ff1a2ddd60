"""FPTT: parameters change at every step of a sequence, regularised by their running average."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from neurosim.errors import InputError
from neurosim.learning.losses.base import Loss, Steps, check_per_step
from neurosim.learning.rules.base import Forward, called, check_number, check_steps
from neurosim.network.graph import NetworkState
from neurosim.synapses.dropout import Masks, shared_masks


class FPTT:
    r"""Forward propagation through time: an optimizer step at each time step, on a dynamically regularised loss.

    At step k of T the state is detached from the past and the optimizer makes a step on

    .. math:: \ell_k(\Phi) - \langle \lambda, \Phi \rangle + \frac\alpha2 \| \Phi - \bar\Phi \|^2

    after which

    .. math:: \lambda \leftarrow \lambda - \alpha (\Phi - \bar\Phi), \quad
              \bar\Phi \leftarrow (1 - \beta) \bar\Phi + \beta \Phi - \frac\beta\alpha \lambda

    and at the end of an epoch :math:`\Phi \leftarrow \bar\Phi`, which is also evaluated (`averaged`). If each step
    reached its minimum, :math:`\lambda` would be :math:`\nabla \ell_k`; a fixed point has :math:`\bar\Phi = \Phi` and
    :math:`\lambda = 0`.

    FPTT is not a `Rule`: a rule returns gradients for one step of the optimizer, and here each time step runs with the
    weights changed by the step before. The parameters of the optimizer are trained.

    The authors' networks use neurons whose time constants a layer computes from input and state
    (`neurosim.models.LiquidNeurons`); this is their training, for any neurons.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Adamax with learning rate 3e-3 in the authors' program.
    alpha : float
        Strength of the pull towards the average, from 0. 0 removes both terms, which leaves online gradient descent;
        the average then follows with `beta` alone.
    beta : float
        Speed of the average, in (0, 1].
    ramp : bool
        Whether the loss of step k is weighted by k/T, as in the authors' program (their auxiliary loss with the
        remaining weight is omitted), or by 1.
    chunk : int
        Time steps between two steps of the optimizer (the paper's T/K); the gradient passes through these.
    clip : float, optional
        Largest norm of each step's gradient; 1 in the authors' program.

    Raises
    ------
    InputError
        When a number is out of range.

    References
    ----------
    Kag and Saligrama, "Training recurrent neural networks via forward propagation through time", ICML 2021; Yin,
    Corradi and Bohté, "Accurate online training of dynamical spiking neural networks through forward propagation
    through time", Nature Machine Intelligence 5, 2023, doi:10.1038/s42256-023-00650-4, and their program.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        alpha: float = 0.1,
        beta: float = 0.5,
        ramp: bool = True,
        chunk: int = 1,
        clip: float | None = 1.0,
    ) -> None:
        check_number("FPTT", "chunk", chunk)
        if not (math.isfinite(alpha) and alpha >= 0):
            raise InputError(f"FPTT(alpha={alpha}): a finite number from 0 up.")
        if not 0 < beta <= 1:
            raise InputError(f"FPTT(beta={beta}): a number above 0, up to 1.")
        if clip is not None and not clip > 0:
            raise InputError(f"FPTT(clip={clip}): the largest gradient norm allowed, above 0, or None.")
        self.optimizer, self.alpha, self.beta = optimizer, alpha, beta
        self.ramp, self.chunk, self.clip = ramp, chunk, clip
        self.parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self.mean = [p.detach().clone() for p in self.parameters]
        self.dual = [torch.zeros_like(p) for p in self.parameters]

    def sequence(self, net: Forward, x: Tensor, target: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Train on one batch of sequences, with one step of the optimizer for every `chunk` time steps.

        Parameters
        ----------
        net : Network
        x : Tensor [T, B, ...]
        target : Tensor [B], [B, ...] or [B, T, ...]
            As the loss takes it.
        loss : Loss
            A mean over steps.

        Returns
        -------
        value : Tensor
            The loss over all steps, without the weight k/T and the terms of FPTT, each with the weights of its step.
        output : Tensor [T, B, ...]
            Output of the network, detached.
        """
        steps = check_steps(x)
        check_per_step("FPTT", loss)
        state: NetworkState | None = None
        total, outputs = torch.zeros((), device=x.device), []
        masks: Masks = {}
        for start in range(0, steps, self.chunk):
            part = x[start : start + self.chunk]
            with shared_masks(masks):
                output, after = called(net, part, state)
            value = loss.over(output, target, Steps(start, steps))
            self.step(value * ((start + len(part)) / steps) if self.ramp else value)
            state = after.detach()
            total = total + value.detach() * (len(part) / steps)
            outputs.append(output.detach())
        return total, torch.cat(outputs)

    def step(self, value: Tensor) -> None:
        """Make one step of the optimizer on a loss, and update average and dual variable."""
        self.optimizer.zero_grad()
        value.backward()
        with torch.no_grad():
            if self.alpha:
                for p, mean, dual in zip(self.parameters, self.mean, self.dual, strict=True):
                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                    p.grad.add_(p - mean, alpha=self.alpha).sub_(dual)
            if self.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
            self.optimizer.step()
            for p, mean, dual in zip(self.parameters, self.mean, self.dual, strict=True):
                dual.sub_(p - mean, alpha=self.alpha)
                mean.lerp_(p, self.beta)
                if self.alpha:
                    mean.sub_(dual, alpha=self.beta / self.alpha)

    def end_epoch(self) -> None:
        """Set the parameters to their average."""
        with torch.no_grad():
            for p, mean in zip(self.parameters, self.mean, strict=True):
                p.copy_(mean)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, the dual variable and the state of the optimizer; the parameters are in the network."""
        return {"mean": list(self.mean), "dual": list(self.dual), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`."""
        for name, own in (("mean", self.mean), ("dual", self.dual)):
            if [value.shape for value in state[name]] != [value.shape for value in own]:
                raise InputError(f"FPTT: {name!r} was saved for other parameters. Make it from the same network.")
        self.optimizer.load_state_dict(state["optimizer"])
        for name, tensors in (("mean", self.mean), ("dual", self.dual)):
            for own, value in zip(tensors, state[name], strict=True):
                own.copy_(value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the parameters are their average, for evaluation."""
        before = [p.detach().clone() for p in self.parameters]
        self.end_epoch()
        try:
            yield
        finally:
            with torch.no_grad():
                for p, value in zip(self.parameters, before, strict=True):
                    p.copy_(value)
