"""Training over ranks: a batch is divided into a fixed number of shards, and their gradients are added in one order."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from neurosim.errors import InputError
from neurosim.learning.losses import Loss
from neurosim.learning.rules.base import Backward, Forward, Rule, called
from neurosim.learning.training.batches import Batch, device_of
from neurosim.network.graph import NetworkState
from neurosim.network.ranks import Ranks, fingerprint, number_of_ranks, tree_sum
from neurosim.synapses.norm import BatchNorm

_SHARED_SEED = -1  # in place of a shard: numbers that all shards of a batch share


class Shards:
    """The shards of each batch, those of this rank, and the sums over all of them.

    Shard s of S has the samples from ``B s // S`` up to ``B (s + 1) // S``. What a shard computes does not depend on
    the rank that computes it: on the CPU one thread runs it, and its random numbers follow from the seed, the batch and
    the shard. Gradients are added by `tree_sum`. The results are therefore the same bits for any number of ranks that
    divides S.

    Parameters
    ----------
    number : int
        S.
    ranks : Ranks
    seed : int
    """

    def __init__(self, number: int, ranks: Ranks, seed: int) -> None:
        self.number, self.ranks, self.seed = number, ranks, seed
        each = number // ranks.size
        self.own = range(ranks.rank * each, (ranks.rank + 1) * each)
        self._levels = (each & -each).bit_length() - 1  # neighbours that one rank has in the tree of sums

    def __repr__(self) -> str:
        return f"shards={self.number}"

    @classmethod
    def of(cls, number: Any, net: nn.Module, rule: Rule, loss: Loss, seed: int | None) -> Shards | None:
        """Return the shards of a run; None for a run of one process without them.

        Raises
        ------
        InputError
            When several ranks run without shards, the number of ranks does not divide that of the shards, or network,
            rule, loss or seed cannot be used with shards.
        """
        if isinstance(net, DistributedDataParallel):
            raise InputError(
                "fit: the network is wrapped in DistributedDataParallel, which adds gradients in an order that depends "
                "on the ranks. Pass the network itself, and shards=; fit exchanges the gradients."
            )
        if number is None:
            if (size := number_of_ranks()) > 1:
                raise InputError(
                    f"fit: this program runs on {size} ranks and shards is not given, so each rank would train alone. "
                    f"Pass shards=, a multiple of {size}: the parts of each batch, on which alone the result depends."
                )
            return None
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InputError(f"shards={number!r}: an integer number of parts of each batch, from 1, or None.")
        if seed is None:
            raise InputError("shards need a seed, from which all ranks draw the same batches; got seed=None.")
        if rule.state_dict():
            raise InputError(
                f"{rule!r} keeps {', '.join(rule.state_dict())} from batch to batch, which each shard of a batch would "
                "change one after the other. Use a rule that keeps nothing, such as BPTT, SLTT or OTTT, or train "
                "without shards."
            )
        for name, module in net.named_modules():
            if isinstance(module, BatchNorm | _BatchNorm):
                raise InputError(
                    f"{name} normalises by the mean of a batch, which a shard is not. Train without shards, or use "
                    "Standardised weights."
                )
        weights = getattr(loss, "class_weights", getattr(getattr(loss, "module", None), "weight", None))
        if weights is not None:
            raise InputError(
                f"{loss!r} divides by the weights of the classes in a batch, which differ from shard to shard. Leave "
                "the class weights out, or train without shards."
            )
        if any(hasattr(parameter, "device_mesh") for parameter in net.parameters()):
            raise InputError(
                "fit: the parameters of the network are divided among the ranks (FSDP). Pass the network before "
                "fully_shard; with shards= each rank has all parameters. A loop of your own takes both."
            )
        if number % (size := number_of_ranks()):
            raise InputError(
                f"shards={number} cannot be divided among {size} ranks. Give a multiple of {size}, or start a number "
                "of ranks that divides it."
            )
        ranks = Ranks.here(device_of(net))
        shards = cls(number, ranks, seed)
        ranks.check_same("shards", number)
        ranks.check_same("seed", seed)
        tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        ranks.copy_from_first(tensors)
        return shards

    @contextlib.contextmanager
    def one_thread(self) -> Iterator[None]:
        """Context in which torch uses one thread: the bits of a matrix product may depend on their number."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def same_batches(self, train: Iterable[Any], place: str) -> Iterator[Any]:
        """Yield the batches of an epoch after a check that all ranks have the same one.

        Raises
        ------
        InputError
            When a rank has no batch where another has one, or has another batch.
        """
        if self.ranks.size == 1:
            yield from train
            return
        source, number = iter(train), 0
        while True:
            number += 1
            batch = next(source, None)
            tensors = [t for t in batch if isinstance(t, Tensor)] if isinstance(batch, tuple | list) else []
            code = 0 if batch is None else 1 + fingerprint(*tensors)
            codes = [int(each) for each in self.ranks.rows(torch.tensor([code], device=self.ranks.device))]
            if not any(codes):
                return
            for rank, other in enumerate(codes):
                if not other:
                    raise InputError(
                        f"{place}: rank {rank} has no batch {number}, another rank has one. All ranks iterate over the "
                        "same batches, of which fit takes the shards of each; leave out samplers that divide the data. "
                        "Checkpoints written so far are kept."
                    )
                if other != codes[0]:
                    raise InputError(
                        f"{place}: batch {number} of rank {rank} differs from that of rank 0. All ranks iterate over "
                        "the same batches, of which fit takes the shards of each; shuffle by the seed of the run, and "
                        "leave out samplers that divide the data. Checkpoints written so far are kept."
                    )
            yield batch

    def gradients(
        self,
        net: nn.Module,
        rule: Rule,
        forward: Forward,
        loss: Loss,
        batches: Sequence[Batch],
        generator: torch.Generator,
        backward: Backward,
        place: tuple[int, int],
    ) -> list[tuple[Tensor, Tensor]]:
        """Set the gradients of the parameters to those of the whole batches; return loss and output of each.

        Parameters
        ----------
        net, rule, forward, loss, backward
            As in `Rule.gradients`.
        batches : sequence of Batch
            Those of one step of the optimizer, whole.
        generator : torch.Generator
            Of the rule; it is seeded for each batch.
        place : tuple of int
            Epoch and number of the first batch, from 1.
        """
        for number, batch in enumerate(batches, start=place[1]):
            self._check(batch, loss, f"epoch {place[0]}, batch {number}")
        samples = sum(batch.y.shape[0] for batch in batches)
        learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
        leaves: list[list[Tensor | None]] = []
        values: list[list[Tensor]] = [[] for _ in batches]
        outputs: list[list[Tensor]] = [[] for _ in batches]
        versions = [(name, buffer, buffer._version) for name, buffer in net.named_buffers()]
        for shard in self.own:
            leaf: list[Tensor | None] = [None] * len(learned)
            for number, batch in enumerate(batches):
                begin, end = self._bounds(batch.y.shape[0], shard)
                mask = None if batch.mask is None else batch.mask[begin:end]
                part = Batch(batch.x[:, begin:end].contiguous(), batch.y[begin:end], mask)
                for parameter in learned:
                    parameter.grad = None
                at = (*place, number)
                generator.manual_seed(self._seed(*at, _SHARED_SEED))
                with self._random(*at, shard):
                    value, output = rule.gradients(
                        forward, part.x, part.y, part.loss(loss), generator, backward=backward
                    )
                values[number].append(value.double() * (end - begin) / batch.y.shape[0])
                outputs[number].append(output)
                # Not the loss is scaled but the gradient, part of which a rule may compute without `backward`.
                leaf = [_sum(a, p.grad, (end - begin) / samples) for a, p in zip(leaf, learned, strict=True)]
            leaves.append(leaf)
        for name, buffer, version in versions:
            if buffer._version != version:
                raise InputError(
                    f"{name} changes as the network runs, so that it would depend on the shards of each rank. Train "
                    "without shards, or without buffers that change."
                )
        self._add_up(learned, leaves)
        return [
            (self._total(mine), self._joined(parts, batch.y.shape[0]))
            for mine, parts, batch in zip(values, outputs, batches, strict=True)
        ]

    def forward(self, forward: Forward) -> Forward:
        """Return a callable without gradient that runs the shards of this rank, and returns the output of all."""

        def run(x: Tensor, state: NetworkState | None = None, **choices: Any) -> tuple[Tensor, Any]:
            samples = x.shape[1]
            with self._random(samples):
                if samples < self.number:  # each rank runs the whole batch
                    return called(forward, x, state, **choices)
                bounds = [self._bounds(samples, shard) for shard in self.own]
                parts = [called(forward, x[:, begin:end].contiguous(), **choices)[0] for begin, end in bounds]
            return self._joined(parts, samples), None

        return run

    def any_of(self, flag: bool) -> bool:
        """Whether a flag is set on one of the ranks."""
        return flag if self.ranks.size == 1 else any(self.ranks.objects(flag))

    def _check(self, batch: Batch, loss: Loss, place: str) -> None:
        samples = batch.y.shape[0]
        if samples < self.number:
            raise InputError(
                f"{place} has {samples} samples for {self.number} shards, so a rank would be without data. Give larger "
                "batches or fewer shards, or leave out a short last batch (drop_last=True). Checkpoints written so far "
                "are kept."
            )
        skipped = loss.ignored(batch.y)
        if skipped is not None and bool(skipped.any()):
            raise InputError(
                f"{place} has targets that the loss ignores; the mean over a shard then counts other samples than that "
                "over the batch. Leave these samples out of the data, or train without shards."
            )

    def _bounds(self, samples: int, shard: int) -> tuple[int, int]:
        return samples * shard // self.number, samples * (shard + 1) // self.number

    def _seed(self, *place: int) -> int:
        code = hashlib.blake2b(repr((self.seed, *place)).encode(), digest_size=8).digest()
        return int.from_bytes(code, "little") >> 1

    @contextlib.contextmanager
    def _random(self, *place: int) -> Iterator[None]:
        """Context in which torch's numbers follow from the seed and a place; its generators are restored."""
        devices = [self.ranks.device] if self.ranks.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._seed(*place))
            yield

    def _add_up(self, learned: Sequence[nn.Parameter], leaves: Sequence[Sequence[Tensor | None]]) -> None:
        """Set the gradients to the sums over all shards."""
        found = [any(leaf[k] is not None for leaf in leaves) for k in range(len(learned))]
        if self.ranks.size > 1:
            flags = torch.tensor(found, device=self.ranks.device, dtype=torch.uint8)
            found = torch.stack(self.ranks.rows(flags)).amax(0).bool().tolist()
        for dtype in dict.fromkeys(parameter.dtype for parameter in learned):
            own = [k for k, p in enumerate(learned) if found[k] and p.dtype == dtype]
            if not own:
                continue
            flat = [
                torch.cat([(torch.zeros_like(learned[k]) if leaf[k] is None else leaf[k]).reshape(-1) for k in own])  # type: ignore[union-attr]
                for leaf in leaves
            ]
            nodes = torch.stack(tree_sum(flat, self._levels))
            (total,) = tree_sum([node for rows in self.ranks.rows(nodes) for node in rows])
            sizes = [learned[k].numel() for k in own]
            for k, gradient in zip(own, total.split(sizes), strict=True):
                learned[k].grad = gradient.view_as(learned[k]).clone()
        for parameter, is_found in zip(learned, found, strict=True):
            if not is_found:
                parameter.grad = None

    def _total(self, values: Sequence[Tensor]) -> Tensor:
        (total,) = tree_sum(list(torch.cat(self.ranks.rows(torch.stack(list(values))))))
        return total

    def _joined(self, parts: Sequence[Tensor], samples: int) -> Tensor:
        """Return the outputs [T, B, ...] of all shards, given those of this rank."""
        mine = torch.cat(list(parts), 1)
        if self.ranks.size == 1:
            return mine
        each = len(self.own)
        sizes = [
            self._bounds(samples, (rank + 1) * each - 1)[1] - self._bounds(samples, rank * each)[0]
            for rank in range(self.ranks.size)
        ]
        room = mine.new_zeros((mine.shape[0], max(sizes), *mine.shape[2:]))
        room[:, : mine.shape[1]] = mine
        rows = self.ranks.rows(room)
        return torch.cat([row[:, :size] for row, size in zip(rows, sizes, strict=True)], 1)


def _sum(total: Tensor | None, gradient: Tensor | None, share: float) -> Tensor | None:
    if gradient is None:
        return total
    own = gradient.detach() * share
    return own if total is None else total + own
