"""The keys of a target's file that a placement reads."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# The limits of a core with their names in a report. Memory is in bits.
LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "neurons_per_core": "neurons",
        "synapse_memory_per_core": "synapse memory",
        "memory_per_core": "memory",
        "input_axons_per_core": "input axons",
        "output_axons_per_core": "output axons",
        "synapses_per_core": "synapses",
        "compartment_configurations_per_core": "neuron settings",
        "threshold_configurations_per_core": "threshold settings",
    }
)
# The limits of a chip that is one group of hidden neurons and one of output neurons, with their names in a report.
GROUP_LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "inputs": "inputs",
        "hidden_neurons": "hidden neurons",
        "output_neurons": "output neurons",
        "neurons_with_input": "hidden neurons with input",
        "neurons_to_outputs": "hidden neurons to outputs",
        "synaptic_currents": "synaptic currents of a neuron",
    }
)
# The limits of a chip or system.
SYSTEM_LIMITS = frozenset(
    {"cores", "chips", "neurons", "synapses", "synapse_memory", "targets_per_neuron", "delay_steps"}
)
# Storage of synapses and neurons in a core, and positions of the cores.
STORAGE = frozenset(
    {"block_synapses", "block_header", "memory_word", "index_bits", "synapse", "neuron", "shared_kernels"}
)
MESH = frozenset({"columns", "cores_per_tile", "barrier_tiles"})
