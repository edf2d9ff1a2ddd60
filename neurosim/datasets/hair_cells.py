"""A cochlea in the time domain: gammatone filters and inner hair cells that release transmitter."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from neurosim.datasets.auditory import bandwidth, erb_centres
from neurosim.datasets.checks import checked_integer, checked_numbers
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.errors import InputError, ShapeError

_ORDER = 4
_LOUDEST = 300  # dB
_REFERENCE = 30.0  # dB, the level at which the model's input has a root mean square of 1


@dataclass(frozen=True)
class HairCells:
    """Fibres of an auditory nerve: filters like places of the inner ear, each with a hair cell and a fibre.

    The sound is filtered by gammatone filters of order 4. Each drives a hair cell of Meddis 1986: the permeability
    ``k = g (s + A) / (s + A + B)`` of its membrane (0 where ``s + A < 0``) releases transmitter from a pool q into the
    cleft c, from where it is lost or taken back through a store w:

        dq/dt = y (1 - q) + x w - k q,   dc/dt = k q - l c - r c,   dw/dt = r c - x w

    A fibre fires at a rate of ``h c``, but not within `refractory` of its last spike. The cells start at rest, where
    `spontaneous_rate` holds. Rates adapt, saturate, and follow the phase of low tones.

    Parameters
    ----------
    channels : int
        Number of filters.
    low, high : float
        Hz, centres of the first and the last filter, equally spaced on the ERB scale.
    level : float
        dB of the sound's root mean square; 30 dB is 1 in the units of the model.
    refractory : float
        s.

    Raises
    ------
    InputError
        When a parameter is out of range.

    References
    ----------
    Meddis 1986, "Simulation of mechanical to neural transduction in the auditory receptor", doi:10.1121/1.393460, and
    Meddis 1988, doi:10.1121/1.396050 (constants of the medium spontaneous rate).

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 20000)
    >>> cells = HairCells(12, low=200.0, high=5000.0)
    >>> int(cells.rates(tone, 20000.0).mean(0).argmax()), round(cells.centres[5])
    (5, 1108)
    """

    channels: int = 64
    low: float = field(default=100.0, kw_only=True)
    high: float = field(default=6000.0, kw_only=True)
    level: float = field(default=60.0, kw_only=True)
    refractory: float = field(default=1e-3, kw_only=True)
    # A, B in the units of the input; g, y, l, r, x, h in 1/s.
    A: float = field(default=5.0, kw_only=True)
    B: float = field(default=300.0, kw_only=True)
    g: float = field(default=2000.0, kw_only=True)
    y: float = field(default=5.05, kw_only=True)
    l: float = field(default=2500.0, kw_only=True)  # noqa: E741  # the publication's name
    r: float = field(default=6580.0, kw_only=True)
    x: float = field(default=66.31, kw_only=True)
    h: float = field(default=50000.0, kw_only=True)

    def __post_init__(self) -> None:
        checked_integer("channels", self.channels)
        checked_numbers(**{name: value for name, value in vars(self).items() if name != "channels"})
        if not 0 < self.low < self.high < math.inf:
            raise InputError(f"HairCells: 0 < low < high is needed; got {self.low!r} and {self.high!r} Hz.")
        if not abs(self.level) <= _LOUDEST:
            raise InputError(f"HairCells: level = {self.level!r} dB; -{_LOUDEST} to {_LOUDEST} dB are allowed.")
        if not 0 <= self.refractory < 0.1:
            raise InputError(f"HairCells: refractory = {self.refractory!r} s; from 0 and below 0.1 s is allowed.")
        for name in ("A", "B", "g", "y", "l", "r", "x", "h"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"HairCells: {name} = {getattr(self, name)!r}, but it must be positive and finite.")

    @property
    def centres(self) -> np.ndarray:
        """Centres of the filters, Hz, float64 [channels]."""
        return erb_centres(self.low, self.high, self.channels)

    @property
    def spontaneous_rate(self) -> float:
        """Rate without a sound, before refractoriness, Hz."""
        return self.h * self._rest()[1]

    def _rest(self) -> tuple[float, float, float]:
        """Return q, c and w at rest."""
        k = self.g * self.A / (self.A + self.B)
        c = k * self.y / (self.y * (self.l + self.r) + k * self.l)
        return c * (self.l + self.r) / k, c, c * self.r / self.x

    def filtered(self, sound: np.ndarray, rate: float) -> np.ndarray:
        """Return the sound after each filter, scaled to `level`: float64 [n, channels].

        Parameters
        ----------
        sound : numpy.ndarray
            [n], any scale; silence stays silence.
        rate : float
            Hz, samples in a second, more than twice `high`.
        """
        sound = np.asarray(sound)
        if sound.dtype.kind not in "fiu":
            raise InputError(f"HairCells: sound is {sound.dtype}; real numbers are expected.")
        if sound.ndim != 1 or not len(sound):
            raise ShapeError(f"HairCells: sound must be samples [n]; got shape {list(sound.shape)}.")
        checked_numbers(rate=rate)
        if not 2 * self.high < rate < math.inf:
            raise InputError(f"HairCells: rate = {rate!r} Hz must be above 2 high = {2 * self.high:g} Hz.")
        values = sound.astype(np.float64)
        if not np.isfinite(values).all():
            raise InputError("HairCells: the sound holds NaN or infinity.")
        peak = float(np.abs(values).max())
        if peak > 0:
            values = values / peak  # so that no square leaves the range of numbers
            values *= 10 ** ((self.level - _REFERENCE) / 20) / math.sqrt(float(np.mean(values**2)))
        from scipy.signal import lfilter

        made = np.empty((len(values), self.channels))
        centres = self.centres
        for channel, (f, width) in enumerate(zip(centres, bandwidth(centres), strict=True)):
            # Four equal complex poles with a gain of 1 at the centre; one real form of order 8 would be unstable.
            decay = math.exp(-2 * math.pi * width / rate)
            pole = decay * np.exp(2j * math.pi * f / rate)
            passed = values.astype(np.complex128)
            for _ in range(_ORDER):
                passed = lfilter([1 - decay], [1, -pole], passed)
            made[:, channel] = 2 * passed.real
        return made

    def rates(self, sound: np.ndarray, rate: float) -> np.ndarray:
        """Return the rate of each fibre before refractoriness: float64 [n, channels], Hz.

        The pools are integrated by Euler's method with a step of at most 10 microseconds.
        """
        drive = self.filtered(sound, rate)
        parts = max(math.ceil(1e5 / rate), 1)
        dt = 1.0 / (rate * parts)
        q, c, w = (np.full(self.channels, value) for value in self._rest())
        found = np.empty_like(drive)
        for step, s in enumerate(drive):
            above = np.maximum(s + self.A, 0.0)
            k = self.g * above / (above + self.B)
            for _ in range(parts):
                released, stored = k * q, self.x * w
                q = q + dt * (self.y * (1 - q) + stored - released)
                w = w + dt * (self.r * c - stored)
                c = c + dt * (released - (self.l + self.r) * c)
            found[step] = self.h * c
        return found

    def __call__(self, sound: np.ndarray, rate: float, *, seed: int = 0) -> SensorEvents:
        """Return the spikes of the fibres.

        Parameters
        ----------
        sound, rate
            As for `filtered`.
        seed : int
            Not negative; one seed gives one spike train of each fibre.

        Returns
        -------
        SensorEvents
            Of shape (channels,), times rounded down to microseconds.
        """
        probability = 1.0 - np.exp(-self.rates(sound, rate) / rate)
        draws = np.random.default_rng(checked_integer("seed", seed, least=0)).random(probability.shape)
        step, channel = np.nonzero(draws < probability)
        t = (step / rate / MICROSECOND + 1e-6).astype(np.int64)
        events = SensorEvents(t, channel, shape=self.channels)
        return events.refractory(round(self.refractory / MICROSECOND) * MICROSECOND)
