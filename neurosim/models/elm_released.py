"""ELM neurons with the weights that the authors released."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from neurosim.errors import FileError, InputError
from neurosim.files.tables import read_json
from neurosim.learning.training.checkpoint import read_stored
from neurosim.models.elm import ELM

CONFIG, WEIGHTS = "model_config.json", "neuronio_best_model_state.pt"
_MS = 1e-3
# The settings of the authors' programs and their defaults; times in ms.
_DEFAULTS: dict[str, Any] = {
    "num_memory": 100,
    "lambda_value": 5.0,
    "mlp_num_layers": 1,
    "mlp_hidden_size": None,
    "mlp_activation": "relu",
    "tau_s_value": 5.0,
    "tau_b_value": 5.0,
    "memory_tau_min": 1.0,
    "memory_tau_max": 1000.0,
    "learn_memory_tau": False,
    "w_s_value": 0.5,
    "num_branch": None,
    "num_synapse_per_branch": 1,
    "input_to_synapse_routing": None,
    "delta_t": 1.0,
}
_WEIGHTS = {
    "mlp.network.0.weight": "inward",
    "mlp.network.0.bias": "inward_bias",
    "mlp.network.2.weight": "outward",
    "mlp.network.2.bias": "outward_bias",
    "w_y.weight": "readout",
    "w_y.bias": "readout_bias",
    "_proto_w_s": "proto_w_s",
    "_proto_tau_m": "proto_tau_m",
}


def released_elm(folder: str | os.PathLike[str]) -> ELM:
    """Return an ELM neuron with the weights of a folder that the authors released.

    Parameters
    ----------
    folder : path-like
        With ``model_config.json`` and ``neuronio_best_model_state.pt``, such as ``models/num_memory_20`` of
        github.com/AaronSpieler/elmneuron (MIT), which is not part of neurosim.

    Returns
    -------
    ELM
        One neuron. Of NeuronIO it takes [T, B, 1278] spikes, 639 excitatory as 1, then 639 inhibitory as -1, in steps
        of 1 ms, and has two outputs: the logit of a spike and the scaled voltage of the soma.

    Raises
    ------
    FileError
        When a file is missing, damaged, or lacks what the neuron needs.
    InputError
        For a setting that `ELM` does not have.
    """
    place = Path(folder)
    config, state = read_json(place / CONFIG), read_stored(place / WEIGHTS)
    if not isinstance(config, Mapping):
        raise FileError(f"{place / CONFIG} holds no settings, but {type(config).__name__}.")
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FileError(f"{place / WEIGHTS} holds no weights by name.")
    try:
        return elm_from_weights(config, state)
    except KeyError as error:
        raise FileError(f"{place} lacks {error}; give a folder as the authors released it.") from error


def elm_from_weights(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> ELM:
    """Return an ELM neuron with settings and weights by the names of the authors' program.

    Parameters
    ----------
    config : mapping of str to value
        ``num_input``, ``num_output``, and the settings that differ from the program's defaults; times in ms.
    state : mapping of str to Tensor
        Its ``state_dict``. One with ``tau_b`` is of the authors' second program (`variant` ``"v2"``).

    Raises
    ------
    InputError
        For a setting that `ELM` does not have, and weights whose sizes differ from the settings.
    KeyError
        For a missing setting or weight.
    """
    unknown = sorted({*config} - {*_DEFAULTS, "num_input", "num_output"})
    if unknown:
        raise InputError(f"the settings {unknown} of an ELM neuron are not known; there are {sorted(_DEFAULTS)}.")
    given = {**_DEFAULTS, **config}
    if given["mlp_num_layers"] != 1:
        raise InputError(f"mlp_num_layers={given['mlp_num_layers']!r}: the perceptron of ELM has one hidden layer.")
    variant: Literal["v1", "v2"] = "v2" if "tau_b" in state else "v1"
    tau = state["tau_b" if variant == "v2" else "tau_s"]
    if not bool((tau == tau[0]).all()):
        raise InputError("the synapses have different time constants; those of ELM share one.")
    routing, branches, synapses = (
        given[name] for name in ("input_to_synapse_routing", "num_branch", "num_synapse_per_branch")
    )
    is_branched = routing is not None
    elm = ELM(
        given["num_input"],
        given["num_output"],
        dt=given["delta_t"] * _MS,
        d_m=given["num_memory"],
        d_mlp=given["mlp_hidden_size"],
        branches=(branches or given["num_input"]) if is_branched else None,
        synapses=synapses if is_branched else None,
        routing="random" if routing == "random_routing" else "windows",
        variant=variant,
        gain=given["lambda_value"],
        tau_s=float(tau[0]) * _MS,
        tau_m_min=given["memory_tau_min"] * _MS,
        tau_m_max=given["memory_tau_max"] * _MS,
        learn_tau_m=given["learn_memory_tau"],
        activation=given["mlp_activation"],
    )
    values = {here: state[there] for there, here in _WEIGHTS.items()}
    if is_branched:
        values["routes"] = state["input_to_synapse_indices"]
        values["connected"] = state["valid_indices_mask"] != 0
    with torch.no_grad():
        for name, value in values.items():
            own = getattr(elm, name)
            if own.numel() != value.numel():
                raise InputError(f"{name} has {value.numel()} values; by the settings it has {own.numel()}.")
            own.copy_(value.reshape(own.shape))
    if not bool(((elm.routes >= 0) & (elm.routes < elm.n_in)).all()):
        raise InputError(f"a synapse comes from an input outside 0 ... {elm.n_in - 1}.")
    return elm
