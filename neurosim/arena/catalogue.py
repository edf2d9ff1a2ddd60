"""The sets of the arena in the order of its table, with the result that each is expected to reach."""

from __future__ import annotations

from dataclasses import dataclass

from neurosim.datasets import Card, card


@dataclass(frozen=True)
class Contest:
    """A set of the arena.

    Attributes
    ----------
    name : str
        Of the command line and of the files.
    card : str
        Name of the data set's card.
    title : str
        Of the table.
    bar : float
        Accuracy to reach, from 0 to 1; for Mackey-Glass the sMAPE to stay below, in percent.
    measure : {"accuracy", "smape"}
        What is measured on the test part.
    about : str
        What counts as one test case.
    """

    name: str
    card: str
    title: str
    bar: float
    measure: str = "accuracy"
    about: str = "samples"

    @property
    def described(self) -> Card:
        """The card of the data set."""
        return card(self.card)

    def reached(self, value: float) -> bool:
        """Return whether a result is as good as the bar."""
        return value < self.bar if self.measure == "smape" else value >= self.bar


CONTESTS = {
    each.name: each
    for each in (
        Contest("vowels", "japanese_vowels", "JapaneseVowels", 0.98, about="sequences"),
        Contest("watch", "exercises", "Smartwatch, 3 held-out persons", 0.88, about="windows of 6 s"),
        Contest("braille", "braille", "Braille letters", 0.93, about="readings"),
        Contest("qtdb", "qtdb", "QTDB heartbeats, per step", 0.84, about="steps"),
        Contest("spoken", "spoken_digits", "Spoken digits (FSDD)", 0.95, about="recordings"),
        Contest("yin-yang", "yin_yang", "Yin-Yang", 0.97, about="points"),
        Contest("nmnist", "nmnist_small", "N-MNIST, 1100 recordings", 0.95, about="recordings"),
        Contest("mackey-glass", "mackey_glass", "Mackey-Glass, sMAPE", 13.37, "smape", about="series"),
    )
}
