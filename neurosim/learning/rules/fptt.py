"""FPTT: parameters that move at every step of a sequence, held together by a running average of themselves."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from neurosim.errors import InputError
from neurosim.learning.losses import Loss
from neurosim.learning.rules.base import Forward, check_number, check_steps
from neurosim.network.graph import NetworkState


class FPTT:
    r"""Forward propagation through time: an optimizer step at each time step, on a loss that remembers the past.

    At step k of T the state is cut off from its past and the optimizer makes a step on

    .. math:: \ell_k(\Phi) - \langle \lambda, \Phi \rangle + \frac\alpha2 \| \Phi - \bar\Phi \|^2

    after which

    .. math:: \lambda \leftarrow \lambda - \alpha (\Phi - \bar\Phi), \quad
              \bar\Phi \leftarrow (1 - \beta) \bar\Phi + \beta \Phi - \frac\beta\alpha \lambda

    and at the end of an epoch :math:`\Phi \leftarrow \bar\Phi`, which is also what is evaluated (`averaged`). If each
    step found its minimum, :math:`\lambda` would be :math:`\nabla \ell_k`, and a point where nothing moves has
    :math:`\bar\Phi = \Phi` and :math:`\lambda = 0`.

    It is no `Rule`: a rule leaves gradients for one step of the optimizer, and here the next time step is run with the
    weights that the last one has changed. Parameters that the optimizer holds are the ones it moves.

    The authors' networks use neurons whose time constants are worked out from input and state by a layer of their
    own (`neurosim.models.LiquidNeurons`); this is their training for any neurons.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Adamax with learning rate 3e-3 in the authors' program.
    alpha : float
        Strength of the pull towards the average, from 0 up; 0 takes both terms away and leaves plain online
        gradient descent, the average then following with `beta` alone.
    beta : float
        Speed of the average, in (0, 1].
    ramp : bool
        Whether the loss of step k is weighted k/T, as in the authors' program (their auxiliary loss, which takes the
        other share, is left out), or 1.
    chunk : int
        Time steps between two steps of the optimizer (the paper's T/K); the gradient runs through these.
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
        target : Tensor [B]
        loss : Loss
            A mean over steps.

        Returns
        -------
        value : Tensor
            The loss over all steps without weights or the terms of FPTT, each step seen with the weights it had.
        output : Tensor [T, B, ...]
            What the network gave, detached.
        """
        steps = check_steps(x)
        if not getattr(loss, "per_step", False):
            raise InputError(f"FPTT needs a loss that is a mean over steps, such as CrossEntropy(); got {loss!r}.")
        state: NetworkState | None = None
        total, outputs = torch.zeros((), device=x.device), []
        for start in range(0, steps, self.chunk):
            part = x[start : start + self.chunk]
            output, after = net(part, state)
            value = loss(output, target)
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
        """Return the average, the dual variable and what the optimizer holds; the parameters are in the network."""
        return {"mean": list(self.mean), "dual": list(self.dual), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` returned."""
        for name, held in (("mean", self.mean), ("dual", self.dual)):
            if [value.shape for value in state[name]] != [value.shape for value in held]:
                raise InputError(f"FPTT: {name!r} was saved for other parameters. Make it from the same network.")
        self.optimizer.load_state_dict(state["optimizer"])
        for name, held in (("mean", self.mean), ("dual", self.dual)):
            for own, value in zip(held, state[name], strict=True):
                own.copy_(value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the parameters be their average inside a ``with``: for evaluation."""
        kept = [p.detach().clone() for p in self.parameters]
        self.end_epoch()
        try:
            yield
        finally:
            with torch.no_grad():
                for p, value in zip(self.parameters, kept, strict=True):
                    p.copy_(value)
