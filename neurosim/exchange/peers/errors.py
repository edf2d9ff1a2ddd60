"""The error of all conversions."""

from __future__ import annotations

from neurosim.errors import NeurosimError


class ConversionError(NeurosimError, ValueError):
    """A part of another library, or of a network, has no exact equivalent."""
