"""The width of the kernels of learned delays, epoch by epoch."""

from __future__ import annotations

from itertools import pairwise

import pytest

from neurosim.synapses.delay_schedule import decreasing_width


def test_the_width_of_the_program_falls_to_one_half_in_a_quarter_of_the_epochs():
    widths = [decreasing_width(24, epoch, 150) for epoch in range(150)]
    assert widths[0] == 12.27
    ratios = [(b - 0.27) / (a - 0.27) for a, b in pairwise(widths[:38])]
    assert ratios == pytest.approx([(0.23 / 12) ** (1 / 37)] * 37)
    assert widths[37:] == pytest.approx([0.5] * 113)


def test_the_width_of_the_paper_falls_from_half_the_taps():
    widths = [decreasing_width(24, epoch, 40, "paper") for epoch in range(40)]
    assert widths[0] == 12.5 and widths[10:] == pytest.approx([0.5] * 30)
    assert [b / a for a, b in pairwise(widths[:11])] == pytest.approx([(0.5 / 12.5) ** 0.1] * 10)
