"""Networks with trained weights that the library ships, each described by a card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

from neurosim.errors import FileError, InputError, ShapeError
from neurosim.files.bundled import data_file, data_files
from neurosim.files.paths import contents
from neurosim.files.tables import read_toml
from neurosim.learning.training.checkpoint import load_checkpoint
from neurosim.network.layers import LI, LIF
from neurosim.network.network import Network
from neurosim.network.sequential import Sequential
from neurosim.synapses.linear import Linear

LARGEST = 2_000_000  # bytes of a file of weights


def digits_network() -> Network:
    """Build the network 64-256-10 for 8 x 8 digits, without trained weights.

    Leaky integrate-and-fire neurons with 5 ms, a read-out with 20 ms, and steps of 1 ms.

    Returns
    -------
    Network
        Input ``"input"``; the mean of its output over time gives the class.

    Examples
    --------
    >>> from neurosim.models import digits_network
    >>> list(digits_network().nodes)
    ['input', 'hidden', 'out']
    """
    layers = Linear(64, 256), LIF(tau_mem=5e-3, dt=1e-3), Linear(256, 10), LI(tau_mem=20e-3, dt=1e-3)
    return Sequential(*layers, names=["hidden", "out"])


_NETWORKS = {"digits_network": digits_network}


@dataclass(frozen=True)
class WeightCard:
    """Description of trained weights, read from a TOML file.

    Attributes
    ----------
    name, title : str
        Short name, and one line for people.
    network : str
        Function of `neurosim.models` that builds the network.
    file : str
        Checkpoint beside the card.
    sha256 : str
        Digest of the file.
    data, data_licence : str
        What the weights were trained on, and its licence.
    licence : str
        Of the weights.
    script : str
        Command that trained them.
    input : str
        How a sample becomes the network's input.
    accuracy : str
        What was measured, on which data.
    note : str
        Limits of use.
    """

    name: str
    title: str
    network: str
    file: str
    sha256: str
    data: str
    data_licence: str
    licence: str
    script: str
    input: str
    accuracy: str
    note: str


def weight_card(name: str) -> WeightCard:
    """Read the card of shipped weights.

    Parameters
    ----------
    name : str
        Such as ``"digits"``.

    Returns
    -------
    WeightCard

    Raises
    ------
    FileError
        For an unknown name; lists those there are. For a card that is not complete.

    Examples
    --------
    >>> from neurosim.models import weight_card
    >>> weight_card("digits").network
    'digits_network'
    """
    return _read(data_file("pretrained", name))


def pretrained(name: str) -> Network:
    """Return a network with trained weights that the library ships, in evaluation mode.

    Parameters
    ----------
    name : str
        Such as ``"digits"``; `weight_card` describes it.

    Returns
    -------
    Network

    Raises
    ------
    FileError
        For an unknown name; for weights that are missing, damaged or not those of the card: names the file.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.datasets import digits, rate
    >>> from neurosim.models import pretrained
    >>> test = digits().flat().test.batches(360, encoder=rate(25, max_rate=1000.0, dt=1e-3), shuffle=False)
    >>> ns.evaluate(pretrained("digits"), test)["accuracy"] > 0.94
    True
    """
    return load_weights(data_file("pretrained", name))


def pretrained_names() -> tuple[str, ...]:
    """Return the names of the shipped weights, sorted."""
    return tuple(path.stem for path in data_files("pretrained"))


def load_weights(path: Path) -> Network:
    """Return the network of a card with the weights beside it; see `pretrained`."""
    card = _read(path)
    if card.network not in _NETWORKS:
        raise FileError(f"card {path}: network = {card.network!r}; it must be one of {', '.join(_NETWORKS)}.")
    if not card.file or Path(card.file).name != card.file:
        raise FileError(f"card {path}: file = {card.file!r}, but it must be the name of a file beside the card.")
    file = path.with_name(card.file)
    digest = hashlib.sha256(contents(file, limit=LARGEST)).hexdigest()
    if digest != card.sha256:
        raise FileError(
            f"{file} is damaged, or not the file of its card: its sha256 is {digest}, the card has {card.sha256}. "
            "Install neurosim-toolkit again."
        )
    net = _NETWORKS[card.network]()
    try:
        load_checkpoint(file, net)
    except (InputError, ShapeError) as error:
        raise FileError(f"{file} does not fit the network of its card, {card.network}: {error}") from error
    return net.eval()


def _read(path: Path) -> WeightCard:
    table = read_toml(path)
    expected = [field.name for field in fields(WeightCard)]
    for key in table:
        if key not in expected:
            raise FileError(
                f"card {path}: unknown entry {key!r}; a card has {', '.join(expected)}. Remove or rename it."
            )
    for key in expected:
        if key not in table:
            raise FileError(f"card {path}: {key!r} is missing; it is a text. Add it.")
        if not isinstance(table[key], str):
            raise FileError(f"card {path}: {key} = {table[key]!r}, but it must be a text. Correct it.")
    return WeightCard(**table)
