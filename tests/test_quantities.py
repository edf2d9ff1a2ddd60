"""Numbers as people read them."""

from __future__ import annotations

import pytest

from neurosim.quantities import quantity, scale_for, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.2096e-9, "3.21 nJ"),
        (1e-9, "1 nJ"),
        (0.99999e-9, "1 nJ"),
        (999.4e-12, "999 pJ"),
        (12e-6, "12 µJ"),
        (4.0, "4 J"),
        (5e-16, "0.5 fJ"),
        (-2e-3, "-2 mJ"),
        (0.0, "0 J"),
    ],
)
def test_energies_get_the_prefix_that_fits(value: float, text: str) -> None:
    assert quantity(value, "J") == text


def test_scale_and_unit_belong_together() -> None:
    for exponent in range(-14, 3):
        value = 2.5 * 10.0**exponent
        scale, _ = scale_for(value, "s")
        assert 1 <= value / scale < 1000 or exponent >= 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (123456.0, "123456"), (1.5e7, "1.50e+07"), (2e-5, "2.00e-05"), (float("inf"), "inf"), (100.0, "100")],
)
def test_numbers_keep_their_digits(value: float, text: str) -> None:
    assert significant(value) == text
