"""The matrix of a synapse, found by running it: unit inputs give its columns, random inputs verify that it is linear.

So a synapse that a user writes, and one with hooks, pruning or parametrisations, is described by what it computes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from neurosim.synapses.lowering import Convolution, Dense, Described, Lowered, Opaque, Scaling, SparseRows

BLOCK = 256  # unit inputs of one call
MANY = 0.5  # share of pairs from which a matrix is kept whole
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest sum of magnitudes


def probed(
    module: nn.Module, shape: tuple[int, ...], written: Callable[[tuple[int, ...]], Lowered] | None = None
) -> Lowered:
    """Return what a module from [T, B, *in] to [T, B, *out] computes in one step, if that is ``W x + b``.

    The module runs as it is, hooks included, in double precision where it allows that, else in its own. It is left as
    it was.

    Parameters
    ----------
    module : torch.nn.Module
        Whose steps and samples do not depend on each other.
    shape : tuple of int
        Of one step's input.
    written : callable, optional
        Description that the module's class gives for `shape`. It is returned where it agrees with what runs, as it
        does for hooks that only recompute weights.

    Returns
    -------
    Lowered
        Opaque where random inputs show that it is not linear, that steps or samples mix, or that it is random.
    """
    guess = None
    if written is not None:
        with torch.no_grad(), _left_as_it_was(module):
            _running(module, _own_dtype(module))(torch.zeros(1, 2, *shape))  # hooks set weights
            guess = written(shape)
    try:
        return _probed(module, shape, guess, torch.float64)
    except (RuntimeError, TypeError):  # holds numbers of another type than its parameters
        return _probed(module, shape, guess, _own_dtype(module))


def _probed(module: nn.Module, shape: tuple[int, ...], guess: Lowered | None, dtype: torch.dtype) -> Lowered:
    run, size = _running(module, dtype), math.prod(shape)
    with torch.no_grad(), _left_as_it_was(module):
        x = _samples(shape, dtype)
        results = run(x.unsqueeze(0))[0], run(x.unsqueeze(1))[:, 0]
        if guess is not None and not isinstance(guess, Opaque) and _agrees(guess, x, results):
            return guess
        constant = run(torch.zeros(1, 2, *shape))[0, 0]
        out_shape = tuple(constant.shape)
        post, pre, weight = listed(lambda x: run(x.unsqueeze(0))[0] - constant, shape, dtype)
        if not (torch.isfinite(constant).all() and torch.isfinite(weight).all()):
            return Opaque("returns NaN or infinity")
        bias = constant.flatten() if constant.any() else None
        value = _smallest(SparseRows(constant.numel(), size, post, pre, weight, bias, None, out_shape), shape)
        agrees = _agrees(value, x, results)
    return value if agrees else Opaque("is not linear in its input, or mixes steps or samples")


def _agrees(value: Described, x: Tensor, results: tuple[Tensor, ...]) -> bool:
    """Whether a value computes these results [n, *out] from ``x`` [n, *in], up to rounding."""
    value = value.to(x.dtype)
    expected = value.apply(x)
    if isinstance(value, (Dense, SparseRows, Convolution, Scaling)):
        value = replace(value, weight=value.weight.abs(), bias=None if value.bias is None else value.bias.abs())
    allowed = _TOLERANCE.get(x.dtype, 1e-2) * value.apply(x.abs()).flatten(1).abs().amax(1).clamp_min(1e-30)
    return all(
        result.shape == expected.shape and bool(((result - expected).flatten(1).abs().amax(1) <= allowed).all())
        for result in results
    )


def listed(
    run: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrix of a linear function by its values at unit inputs.

    Parameters
    ----------
    run : callable
        From [n, *shape] to [n, *out].
    shape : tuple of int
    dtype : torch.dtype
        Of the inputs.

    Returns
    -------
    post, pre : Tensor [nonzero] of int64
        Sorted by `post`, then `pre`.
    weight : Tensor [nonzero]
    """
    size = math.prod(shape)
    posts, pres, weights = [], [], []
    for first in range(0, size, BLOCK):
        n = min(BLOCK, size - first)
        x = torch.zeros(n, size, dtype=dtype)
        x[torch.arange(n), torch.arange(first, first + n)] = 1.0
        columns = run(x.unflatten(1, shape)).flatten(1)
        pre, post = columns.nonzero().T
        posts.append(post)
        pres.append(pre + first)
        weights.append(columns[pre, post])
    post, pre, weight = torch.cat(posts), torch.cat(pres), torch.cat(weights)
    order = torch.argsort(post * size + pre)
    return post[order], pre[order], weight[order]


def matrix_of(run: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[Dense | SparseRows, tuple[int, ...]]:
    """Return the matrix of a linear function between flat rows, and the shape of its results.

    Parameters
    ----------
    run : callable
        From [n, *shape] in double precision to [n, *out]; it must be linear.
    shape : tuple of int
    """
    out_shape = tuple(run(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:])
    size, n_out = math.prod(shape), math.prod(out_shape)
    post, pre, weight = listed(run, shape)
    rows = SparseRows(n_out, size, post, pre, weight)
    return (Dense(rows.matrix()) if len(weight) > MANY * n_out * size else rows), out_shape


def _smallest(rows: SparseRows, shape: tuple[int, ...]) -> Dense | SparseRows | Scaling:
    """Return the value of the fewest numbers: a factor for each neuron, connections, or a matrix."""
    assert rows.out_shape is not None
    out_shape = None if len(rows.out_shape) == 1 else rows.out_shape
    if rows.out_shape == shape and bool((rows.post == rows.pre).all()):
        factors = rows.weight.new_zeros(rows.n_in).index_put((rows.post,), rows.weight)
        bias = None if rows.bias is None else rows.bias.view(shape)
        return Scaling(factors[0] if bool((factors == factors[0]).all()) else factors.view(shape), bias)
    if len(rows.weight) > MANY * rows.n_out * rows.n_in:
        return Dense(rows.matrix(), rows.bias, None, out_shape)
    return SparseRows(rows.n_out, rows.n_in, rows.post, rows.pre, rows.weight, rows.bias, None, out_shape)


def _samples(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return inputs [n, *shape] that show what is not linear: spikes, ones, fractions, signed, large."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand((8, *shape), generator=generator, dtype=torch.float64)
    signed = 2 * uniform[2:6] - 1
    spikes = (uniform[6:] < torch.tensor([0.1, 0.5], dtype=torch.float64).view(-1, *[1] * len(shape))).double()
    ones = torch.ones((1, *shape), dtype=torch.float64)
    return torch.cat((spikes, ones, -ones, uniform[:2], signed[:2], 1e3 * signed[2:])).to(dtype)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _running(module: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return the module as a function of its input, with copies of its numbers in `dtype`."""
    tensors = _tensors(module)
    device = next((t.device for t in tensors.values()), torch.device("cpu"))
    numbers = {name: t.to(dtype if t.is_floating_point() else t.dtype, copy=True) for name, t in tensors.items()}

    def run(x: Tensor) -> Tensor:
        y: Tensor = functional_call(module, numbers, (x.to(device, dtype),)).cpu()
        return y

    return run


def _own_dtype(module: nn.Module) -> torch.dtype:
    return next((t.dtype for t in _tensors(module).values() if t.is_floating_point()), torch.get_default_dtype())


@contextlib.contextmanager
def _left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Restore the attributes that hooks set, such as the weight of `torch.nn.utils.prune`."""
    saved = [(inner, dict(vars(inner))) for inner in module.modules()]
    try:
        yield
    finally:
        for inner, attributes in saved:
            vars(inner).clear()
            vars(inner).update(attributes)
