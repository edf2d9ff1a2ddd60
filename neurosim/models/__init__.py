"""Published systems, a file each."""

from __future__ import annotations

from neurosim.models.associative import DenseMemory, HopfieldMemory, ModernMemory, Recall
from neurosim.models.astrocyte_attention import AstrocyteAttention, AstrocyteCell
from neurosim.models.astrocyte_gain import GainAstrocyte, GainAstrocyteState
from neurosim.models.astrocyte_potentiation import potentiation, retention_factors
from neurosim.models.astrocyte_sic import SlowInwardCurrent
from neurosim.models.content_memory import ContentMemory, Recalled
from neurosim.models.delta import DeltaActivation, DeltaState, send_changes
from neurosim.models.delta_activity import Activity, WithActivity, activity, activity_loss
from neurosim.models.dendrites import ActiveDendrites, Segments, k_winners
from neurosim.models.early_exit import EarlyExit, Stopped, run_until_confident
from neurosim.models.elm import ELM, ELMState
from neurosim.models.elm_layer import ELMLayer, ELMLayerState, ELMNetwork
from neurosim.models.elm_released import elm_from_weights, released_elm
from neurosim.models.elm_routing import windows
from neurosim.models.exit_calibration import Calibration, OperatingPoint, calibrate
from neurosim.models.iir import limit_leaks, set_thresholds
from neurosim.models.iir_stages import Stage, reduce_steps
from neurosim.models.legendre import LegendreMemory, l2mu, l2mu_as_lif, legendre_matrices
from neurosim.models.liquid_neurons import LiquidNeurons, LiquidNeuronsState
from neurosim.models.rate_conversion import RateError, rate_coded, rate_errors
from neurosim.models.replay_memory import ReplayMemory
from neurosim.models.resistive_liquid import ResistiveCells, ResistiveLiquid, SharedReadout
from neurosim.models.resnet import resnet18, resnet34
from neurosim.models.shipped_weights import WeightCard, digits_network, pretrained, pretrained_names, weight_card
from neurosim.models.speech import adaptive_speech
from neurosim.models.spike_point import SpikePoint, grouped_points, point_spikes
from neurosim.models.spikeformer import (
    SpikeAttention,
    SpikeFormer,
    fold_spikeformer,
    spikeformer_energy,
    spikeformer_products,
)
from neurosim.models.state_space import csilif_neurons, silif_neurons
from neurosim.models.swimmer_circuit import SwimmerCircuit
from neurosim.models.thought_machine import (
    NeuronModels,
    Synchrony,
    SynchronyState,
    ThoughtMachine,
    Thoughts,
    certainty,
    thought_loss,
)
from neurosim.models.timescales import TimescaleNetwork, autocorrelation_times, parity_of_last
from neurosim.models.vgg import vgg11, vgg16
from neurosim.models.whitening import FrameWhitening, mercedes_benz, random_frame

__all__ = [
    "ELM",
    "ActiveDendrites",
    "Activity",
    "AstrocyteAttention",
    "AstrocyteCell",
    "Calibration",
    "ContentMemory",
    "DeltaActivation",
    "DeltaState",
    "DenseMemory",
    "ELMLayer",
    "ELMLayerState",
    "ELMNetwork",
    "ELMState",
    "EarlyExit",
    "FrameWhitening",
    "GainAstrocyte",
    "GainAstrocyteState",
    "HopfieldMemory",
    "LegendreMemory",
    "LiquidNeurons",
    "LiquidNeuronsState",
    "ModernMemory",
    "NeuronModels",
    "OperatingPoint",
    "RateError",
    "Recall",
    "Recalled",
    "ReplayMemory",
    "ResistiveCells",
    "ResistiveLiquid",
    "Segments",
    "SharedReadout",
    "SlowInwardCurrent",
    "SpikeAttention",
    "SpikeFormer",
    "SpikePoint",
    "Stage",
    "Stopped",
    "SwimmerCircuit",
    "Synchrony",
    "SynchronyState",
    "ThoughtMachine",
    "Thoughts",
    "TimescaleNetwork",
    "WeightCard",
    "WithActivity",
    "activity",
    "activity_loss",
    "adaptive_speech",
    "autocorrelation_times",
    "calibrate",
    "certainty",
    "csilif_neurons",
    "digits_network",
    "elm_from_weights",
    "fold_spikeformer",
    "grouped_points",
    "k_winners",
    "l2mu",
    "l2mu_as_lif",
    "legendre_matrices",
    "limit_leaks",
    "mercedes_benz",
    "parity_of_last",
    "point_spikes",
    "potentiation",
    "pretrained",
    "pretrained_names",
    "random_frame",
    "rate_coded",
    "rate_errors",
    "reduce_steps",
    "released_elm",
    "resnet18",
    "resnet34",
    "retention_factors",
    "run_until_confident",
    "send_changes",
    "set_thresholds",
    "silif_neurons",
    "spikeformer_energy",
    "spikeformer_products",
    "thought_loss",
    "vgg11",
    "vgg16",
    "weight_card",
    "windows",
]
