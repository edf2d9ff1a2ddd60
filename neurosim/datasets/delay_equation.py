"""The Mackey-Glass series: a delay differential equation, integrated to the precision of float64."""

from __future__ import annotations

import math
import os

import numpy as np
import torch
from scipy.linalg import lu_factor, lu_solve

from neurosim.datasets.arrays import read_npy
from neurosim.datasets.cards import card
from neurosim.datasets.checks import checked_integer, checked_numbers
from neurosim.datasets.parts import Parts
from neurosim.datasets.series import Series
from neurosim.errors import FileError, InputError

POINTS, TRAIN, TEST = 75, 10, 10  # points in a Lyapunov time; Lyapunov times to train and to test on
LYAPUNOV, PAST = 197.0, 0.7206597  # of delay 17, as NeuroBench has them
_NODES = 64
_LONGEST = 100_000


def mackey_glass(offset: int = 0, *, path: str | os.PathLike[str] | None = None) -> Parts[Series]:
    """Return the task of NeuroBench: predict the next of 75 points in a Lyapunov time, delay 17.

    The first 10 Lyapunov times are for training, the next 10 for testing, where a model predicts from its own
    predictions. NeuroBench averages over 30 series, of which each begins half a Lyapunov time later.

    The series is chaotic: two exact integrators agree to 1e-8 after ten Lyapunov times, 1e-3 after twenty and not at
    all after thirty. NeuroBench's own numbers are those of its file, which `path` reads.

    Parameters
    ----------
    offset : int
        Number of the series, from 0: it begins ``offset`` halves of a Lyapunov time (37.5 points, rounded down) later.
    path : path-like, optional
        ``mg_17.npy`` of NeuroBench; computed if left out.

    Returns
    -------
    Parts of Series
        "train" and "test", one sequence each: `x` float64 [750, 1], `y` the next point [750, 1]. `held_out` is refused:
        a fair validation part is the end of "train".

    References
    ----------
    Mackey and Glass 1977, doi:10.1126/science.267326. Yik et al. 2025, "The NeuroBench framework",
    doi:10.1038/s41467-025-56739-4.
    """
    about = card("mackey_glass")
    start = int(checked_integer("offset", offset, least=0) * POINTS / 2)
    number = start + (TRAIN + TEST) * POINTS + 1
    if path is None:
        values = mackey_glass_series(number, interval=LYAPUNOV / POINTS)
    else:
        values = read_npy(path).astype(np.float64)
        if values.ndim != 1 or len(values) < number or not np.isfinite(values).all():
            raise FileError(f"{path} holds {list(values.shape)}; {number} finite values in a line are needed.")
    taken = torch.tensor(values[start:number])[:, None]
    cut = TRAIN * POINTS
    dt = LYAPUNOV / POINTS
    parts = {
        "train": Series((taken[:cut],), (taken[1 : cut + 1],), (), dt=dt),
        "test": Series((taken[cut:-1],), (taken[cut + 1 :],), (), dt=dt),
    }
    return Parts(parts, about)


def mackey_glass_series(
    number: int,
    *,
    interval: float = 1.0,
    delay: float = 17.0,
    past: float = PAST,
    beta: float = 0.2,
    gamma: float = 0.1,
    n: float = 10.0,
) -> np.ndarray:
    """Integrate ``x' = beta x(t - delay) / (1 + x(t - delay)^n) - gamma x`` from a constant past.

    Between two multiples of the delay the delayed term is known and the solution is smooth: it is a polynomial of
    degree 64 through Chebyshev points, found from a linear system. What remains is rounding, which the chaos amplifies
    by e in each Lyapunov time: about 1e-13 at the beginning, 1e-8 after ten Lyapunov times.

    Parameters
    ----------
    number : int
        Points, the first at time 0; 100,000 at most.
    interval, delay : float
        Time between points, and the delay; positive, and an interval at most 1000 delays.
    past : float
        x at and before time 0.
    beta, gamma, n : float
        As in the equation; gamma positive.

    Returns
    -------
    numpy.ndarray
        float64 [number].

    Examples
    --------
    >>> from neurosim.datasets.delay_equation import mackey_glass_series
    >>> mackey_glass_series(3, interval=1.0).round(6).tolist()
    [0.72066, 0.784246, 0.841781]
    """
    checked_numbers(interval=interval, delay=delay, past=past, beta=beta, gamma=gamma, n=n)
    if not (0 < interval <= 1000 * delay < math.inf and gamma > 0 and all(map(math.isfinite, (past, beta, gamma, n)))):
        raise InputError(
            f"mackey_glass_series: interval = {interval!r}, delay = {delay!r}, past = {past!r}, beta = {beta!r}, "
            f"gamma = {gamma!r}, n = {n!r}; positive times and gamma, and finite numbers are allowed."
        )
    if checked_integer("number", number) > _LONGEST:
        raise InputError(f"mackey_glass_series: number = {number}; {_LONGEST:,} points are allowed.")
    return _solved(number, interval, delay, past, (beta, gamma, n), _NODES)


def _solved(
    number: int, interval: float, delay: float, past: float, law: tuple[float, float, float], nodes: int
) -> np.ndarray:
    beta, gamma, n = law
    place, derivative = _chebyshev(nodes)  # in [-1, 1], rising
    system = derivative * (2 / delay) + gamma * np.eye(nodes + 1)
    system[0] = 0.0
    system[0, 0] = 1.0  # continuous at the beginning
    solver = lu_factor(system)
    weights = np.where(np.arange(nodes + 1) % 2, -1.0, 1.0)
    weights[[0, -1]] /= 2
    time = np.arange(number) * interval
    out = np.full(number, float(past))
    before = np.full(nodes + 1, float(past))
    for segment in range(int(time[-1] // delay) + 1):
        drive = beta * before / (1 + before**n)
        drive[0] = before[-1]
        now = lu_solve(solver, drive)
        first, last = np.searchsorted(time, (segment * delay, (segment + 1) * delay))
        local = (time[first:last] - segment * delay) * (2 / delay) - 1
        away = local[:, None] - place
        at = np.abs(away) < 1e-14
        share = weights / np.where(at, 1.0, away)
        value = (share @ now) / share.sum(axis=1)
        hit = at.any(axis=1)
        value[hit] = now[at.argmax(axis=1)[hit]]
        out[first:last] = value
        before = now
    return out


def _chebyshev(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Chebyshev points in [-1, 1], rising, and the matrix of the derivative there (Trefethen 2000)."""
    k = np.arange(nodes + 1)
    x = -np.cos(np.pi * k / nodes)
    c = np.where((k == 0) | (k == nodes), 2.0, 1.0) * (-1.0) ** k
    difference = x[:, None] - x
    matrix = np.outer(c, 1 / c) / (difference + np.eye(nodes + 1))
    return x, matrix - np.diag(matrix.sum(axis=1))
