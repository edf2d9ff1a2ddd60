"""Synapses: how spikes become current."""

from neurosim.synapses.batch_norm_folding import absorb_batch_norm
from neurosim.synapses.block import BlockLinear
from neurosim.synapses.conv import Conv1d, Conv2d, Conv3d
from neurosim.synapses.conv_transpose import ConvTranspose2d
from neurosim.synapses.delayed_linear import DelayedLinear
from neurosim.synapses.delayed_sparse import DelayedSparse
from neurosim.synapses.drawn import Drawn
from neurosim.synapses.dropout import Dropout
from neurosim.synapses.lateral import LateralBank, RoundedResponses
from neurosim.synapses.linear import Linear
from neurosim.synapses.norm import BatchNorm, Standardised
from neurosim.synapses.pool import AvgPool2d, Flatten, MaxPool2d, SumPool2d
from neurosim.synapses.pool1d import AdaptiveAvgPool2d, AvgPool1d, MaxPool1d, SumPool1d
from neurosim.synapses.rounded_delays import RoundedDelays
from neurosim.synapses.scale import Identity, Scale
from neurosim.synapses.shift import Shift
from neurosim.synapses.sparse import Sparse
from neurosim.synapses.step_norm import GroupNorm, LayerNorm
from neurosim.synapses.synapse import Synapse
from neurosim.synapses.unflatten import Unflatten
from neurosim.synapses.upsample import Upsample

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "BlockLinear",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose2d",
    "DelayedLinear",
    "DelayedSparse",
    "Drawn",
    "Dropout",
    "Flatten",
    "GroupNorm",
    "Identity",
    "LateralBank",
    "LayerNorm",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "RoundedDelays",
    "RoundedResponses",
    "Scale",
    "Shift",
    "Sparse",
    "Standardised",
    "SumPool1d",
    "SumPool2d",
    "Synapse",
    "Unflatten",
    "Upsample",
    "absorb_batch_norm",
]
