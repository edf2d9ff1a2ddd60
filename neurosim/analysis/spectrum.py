"""Power spectrum of a population's rate."""

from __future__ import annotations

from typing import NamedTuple

from neurosim.analysis.grid import Array, EventList, complete_bins, complete_counts, on_grid, steps_in
from neurosim.errors import InputError


class Spectrum(NamedTuple):
    """Power over frequency.

    Attributes
    ----------
    frequency : array [F] of float64
        From 0 to half of ``1 / bin``, Hz.
    power : array [F, B] of float64
        One-sided density of the rate of a neuron, Hz^2 / Hz: its integral is the variance of the rate.
    """

    frequency: Array
    power: Array


def power_spectrum(events: EventList, bin: float, segment: float) -> Spectrum:
    """Return the power spectrum of the population's rate, by Welch's method.

    Hann windows of `segment`, overlapping by half, the mean of each removed. For N independent Poisson neurons of rate
    r it is flat at ``2 r / N``.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt. Frequencies go up to ``1 / (2 bin)``. Complete bins alone are used.
    segment : float
        Length of a window, s, a multiple of `bin`; ``1 / segment`` is the resolution.

    Returns
    -------
    Spectrum

    Raises
    ------
    UnitError
        When a width is not a multiple of dt.
    InputError
        When the segment does not fit the bins or is longer than the recording.

    References
    ----------
    Welch, "The use of fast Fourier transform for the estimation of power spectra", IEEE Transactions on Audio and
    Electroacoustics 15, 1967, doi:10.1109/TAU.1967.1161901; computed by `scipy.signal.welch`.

    Examples
    --------
    >>> from neurosim import Events
    >>> events = Events(step=range(0, 1000, 20), neuron=[0] * 50, T=1000, dt=1e-3, shape=1)
    >>> found = power_spectrum(events, bin=1e-3, segment=0.2)
    >>> peak = found.power[:20, 0].argmax()
    >>> round(float(found.frequency[peak]))
    50
    """
    grid = on_grid("power_spectrum", events)
    width, bins = complete_bins("power_spectrum", bin, grid)
    steps = steps_in("power_spectrum", "segment", segment, grid)
    if steps % width or not 2 <= steps // width <= bins:
        raise InputError(
            f"power_spectrum: segment must be a multiple of bin = {bin:g} s, from two bins to the "
            f"{bins * width * grid.dt:g} s of the recording; got {segment!r} s."
        )
    from scipy.signal import welch

    rate = complete_counts(grid, width, bins) / (grid.N * width * grid.dt)
    return Spectrum(*welch(rate, 1 / (width * grid.dt), nperseg=steps // width, axis=0))
