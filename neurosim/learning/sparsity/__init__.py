"""Sparse networks for chips: weights pruned in training, neurons pruned by firing, and lists of what remains."""

from neurosim.learning.sparsity.dynamic import DynamicSparsity
from neurosim.learning.sparsity.magnitude import MagnitudePruning
from neurosim.learning.sparsity.masks import Sparsity
from neurosim.learning.sparsity.schedule import CubicSparsity
from neurosim.learning.sparsity.structured import mean_rates, most_active, sparsified, without_neurons

__all__ = [
    "CubicSparsity",
    "DynamicSparsity",
    "MagnitudePruning",
    "Sparsity",
    "mean_rates",
    "most_active",
    "sparsified",
    "without_neurons",
]
