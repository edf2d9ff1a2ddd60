"""Read recordings of N-MNIST: five bytes an event."""

from __future__ import annotations

import numpy as np

from neurosim.datasets.events.files.addresses import fields
from neurosim.errors import FileError

SIDE, POLARITIES = 34, 2
SHAPE = (POLARITIES, SIDE, SIDE)


def nmnist_events(name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Read the events of one recording of N-MNIST, a ``.bin`` file (``.bs2`` in SLAYER's copy).

    An event is the column, the row, and 24 bits: the polarity and the time in microseconds.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        The file.

    Returns
    -------
    time : numpy.ndarray
        int64 [n], microseconds, as stored.
    place : numpy.ndarray
        int64 [n], index into the flattened [2, 34, 34]: polarity, row, column.

    Raises
    ------
    FileError
        When the length is no multiple of 5 bytes, or an event lies outside the 34 x 34 pixels.

    References
    ----------
    Orchard, Jayawant, Cohen and Thakor 2015, "Converting static image datasets to spiking neuromorphic datasets using
    saccades", doi:10.3389/fnins.2015.00437.

    Examples
    --------
    >>> from neurosim.datasets import nmnist_events
    >>> time, place = nmnist_events("1.bin", bytes([3, 5, 0x80, 0x01, 0x00]))
    >>> time.tolist(), place.tolist()  # polarity 1, row 5, column 3
    ([256], [1329])
    """
    if len(content) % 5:
        raise FileError(f"{name} is {len(content):,} bytes long; a recording of N-MNIST has 5 bytes for each event.")
    x, y, polarity, time = fields(content)
    outside = np.flatnonzero((x >= SIDE) | (y >= SIDE))
    if len(outside):
        first = outside[0]
        raise FileError(
            f"{name}: event {first} lies at column {x[first]}, row {y[first]}; 0 to {SIDE - 1} are allowed."
        )
    return time, (polarity.astype(np.int64) * SIDE + y) * SIDE + x
