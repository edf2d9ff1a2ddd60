"""Export to and import from NIR, the Neuromorphic Intermediate Representation, with a stated discretisation."""

from neurosim.exchange.nir.exporting import LossyExport, to_nir, write_nir
from neurosim.exchange.nir.importing import from_nir
from neurosim.exchange.nir.older import write_nir_1_0_4
from neurosim.exchange.nir.picture import draw_nir
from neurosim.exchange.nir.reach import UnreachableThreshold
from neurosim.exchange.nir.verify import NirVerification, NodeAgreement, verify_nir

__all__ = [
    "LossyExport",
    "NirVerification",
    "NodeAgreement",
    "UnreachableThreshold",
    "draw_nir",
    "from_nir",
    "to_nir",
    "verify_nir",
    "write_nir",
    "write_nir_1_0_4",
]
