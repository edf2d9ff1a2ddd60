"""Read wav files of unknown origin."""

from __future__ import annotations

import io
import wave

import numpy as np

from neurosim.errors import FileError

_HIGHEST_RATE = 10_000_000  # Hz


def read_wav(name: str, content: bytes) -> tuple[np.ndarray, float]:
    """Read the samples of a wav file of one channel and 16 bits.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        The file.

    Returns
    -------
    samples : numpy.ndarray
        float32 [n] in [-1, 1).
    rate : float
        Samples in a second, Hz.

    Raises
    ------
    FileError
        When it is no wav file, has another format, ends early, or declares a rate of 0 or above 10 MHz.
    """
    try:
        with wave.open(io.BytesIO(content)) as sound:
            if (sound.getsampwidth(), sound.getnchannels()) != (2, 1):
                bits, channels = 8 * sound.getsampwidth(), sound.getnchannels()
                raise FileError(f"{name} has {channels} channel(s) of {bits} bits; only 16-bit mono is read.")
            number, rate = sound.getnframes(), sound.getframerate()
            raw = sound.readframes(number)
    except FileError:
        raise
    except (wave.Error, EOFError, ValueError, OverflowError, OSError, RuntimeError) as error:
        raise FileError(f"{name} is not a wav file: {str(error) or 'it ends early'}.") from error
    if len(raw) != 2 * number:
        raise FileError(f"{name} ends early: it declares {2 * number:,} bytes of sound, found {len(raw):,}.")
    if not 0 < rate <= _HIGHEST_RATE:
        raise FileError(f"{name} declares {rate:,} samples in a second; 1 to {_HIGHEST_RATE:,} are allowed.")
    return np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0, float(rate)
