"""Xylo: integer networks, the configuration document, and the maker's simulator as the judge."""

from neurosim.hardware.xylo.configuration import XyloConfiguration
from neurosim.hardware.xylo.mapping import XyloExport, from_xylo, to_xylo
from neurosim.hardware.xylo.neurons import xylo_neurons
from neurosim.hardware.xylo.quantisation import XyloChoice, XyloQuantised, quantise_xylo
from neurosim.hardware.xylo.real import dash_time_constant
from neurosim.hardware.xylo.reference import XyloRun, evolve, order_matters
from neurosim.hardware.xylo.runner import run_xylosim
from neurosim.hardware.xylo.verification import XyloNode, XyloVerification, verify_xylo

__all__ = [
    "XyloChoice",
    "XyloConfiguration",
    "XyloExport",
    "XyloNode",
    "XyloQuantised",
    "XyloRun",
    "XyloVerification",
    "dash_time_constant",
    "evolve",
    "from_xylo",
    "order_matters",
    "quantise_xylo",
    "run_xylosim",
    "to_xylo",
    "verify_xylo",
    "xylo_neurons",
]
