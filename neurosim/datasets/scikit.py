"""The embedded dataset: 1797 real handwritten digits that scikit-learn ships."""

from __future__ import annotations

import numpy as np
import torch

from neurosim.datasets.cards import card
from neurosim.datasets.labelled import Labelled, Split
from neurosim.errors import FileError

_SPLIT_SEED = 0


def digits() -> Split:
    """Load the 1797 handwritten digits, 8 x 8, that scikit-learn ships (no file or network needed).

    The split is fixed: of every class, 36 samples drawn with ``numpy.random.RandomState(0)``, a stream that numpy
    keeps frozen, are the test part (360); the other 1437 are the training part. Both keep the order of the source.

    Returns
    -------
    Split
        ``train`` and ``test``: `x` float32 [n, 1, 8, 8] in [0, 1], `y` int64 [n]. Use ``.flat()`` for [n, 64].

    Raises
    ------
    FileError
        When scikit-learn is not installed or ships other data than the card describes.

    References
    ----------
    E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI, doi:10.24432/C50P49.

    Examples
    --------
    >>> data = digits()
    >>> len(data.train), len(data.test), tuple(data.test.x.shape)
    (1437, 360, (360, 1, 8, 8))
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise FileError(
            "the digits ship with scikit-learn, which is not installed. Run: pip install 'neurosim-toolkit[data]'"
        ) from error
    about = card("digits")
    pixels, labels = load_digits(return_X_y=True)
    total = sum(about.counts.values())
    if pixels.shape != (total, 64) or len(labels) != total or not 0 <= pixels.min() <= pixels.max() <= about.scale:
        raise FileError(
            f"scikit-learn's digits have shape {pixels.shape} and values from {pixels.min():g} to {pixels.max():g}, "
            f"expected ({total}, 64) and 0 to {about.scale:g}. Install scikit-learn again."
        )
    per_class = about.counts["test"] // len(about.classes)
    draw = np.random.RandomState(_SPLIT_SEED)
    chosen = [draw.permutation(np.flatnonzero(labels == label))[:per_class] for label in range(len(about.classes))]
    in_test = np.zeros(total, dtype=bool)
    in_test[np.concatenate(chosen)] = True
    x = torch.from_numpy(pixels).to(torch.float32).div_(about.scale).reshape(total, *about.shape)
    y = torch.from_numpy(labels.astype(np.int64))
    everything, mask = Labelled(x, y, about.classes), torch.from_numpy(in_test)
    return Split(everything.subset(~mask), everything.subset(mask), about)
