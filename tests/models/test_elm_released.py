"""Weights by the names of the authors' programs give the numbers of their equations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neurosim.errors import FileError, InputError
from neurosim.models import ELM, elm_from_weights, released_elm

BRANCHED = dict(
    num_input=12, num_output=2, num_memory=5, num_branch=4, num_synapse_per_branch=5, memory_tau_max=150.0
) | {"input_to_synapse_routing": "neuronio_routing"}
PLAIN = dict(num_input=7, num_output=3, num_memory=4, mlp_hidden_size=6, delta_t=2.0, mlp_activation="silu")
DRAWN = {**BRANCHED, "input_to_synapse_routing": "random_routing", "num_input": 9}


def weights(config: dict[str, Any], variant: str) -> dict[str, Tensor]:
    """Return random weights by the program's names."""
    n, m = config["num_input"], config["num_memory"]
    branches, each = config.get("num_branch") or n, config.get("num_synapse_per_branch", 1)
    hidden = config.get("mlp_hidden_size") or 2 * m
    state = {
        "_proto_w_s": torch.randn(branches * each),
        "_proto_tau_m": torch.randn(m),
        "mlp.network.0.weight": torch.randn(hidden, branches + m) / 3,
        "mlp.network.0.bias": torch.randn(hidden),
        "mlp.network.2.weight": torch.randn(m, hidden) / 3,
        "mlp.network.2.bias": torch.randn(m),
        "w_y.weight": torch.randn(config["num_output"], m),
        "w_y.bias": torch.randn(config["num_output"]),
        "input_to_synapse_indices": torch.empty(0),
        "valid_indices_mask": torch.empty(0),
    }
    state |= (
        {"tau_s": torch.full((branches * each,), 5.0)} if variant == "v1" else {"tau_b": torch.full((branches,), 5.0)}
    )
    if config.get("input_to_synapse_routing") == "random_routing":
        state["input_to_synapse_indices"] = torch.randint(n, (branches * each,))
        state["valid_indices_mask"] = torch.ones(branches * each, dtype=torch.int64)
    elif "input_to_synapse_routing" in config:
        stride = math.ceil(n / branches)
        places = [j * stride + k for j in range(branches) for k in range(each)]
        inside = [min(place, n - 1) for place in places]
        state["input_to_synapse_indices"] = torch.tensor([p % 2 * (n // 2) + p // 2 for p in inside])
        state["valid_indices_mask"] = torch.tensor([place < n for place in places])
    return state


def expected(config: dict[str, Any], state: dict[str, Tensor], x: Tensor, variant: str) -> Tensor:
    """Return the outputs by the published equations, in double precision."""
    s = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    low, high = config.get("memory_tau_min", 1.0), config.get("memory_tau_max", 1000.0)
    step = config.get("delta_t", 1.0)
    tau = low + (high - low) * torch.sigmoid(s["_proto_tau_m"])
    keep, fade = torch.exp(-step / tau), math.exp(-step / 5.0)
    gain = 5.0 * (1 - keep) if variant == "v1" else 1 - torch.exp(-5.0 * step / tau)
    act = torch.nn.functional.silu if config.get("mlp_activation") == "silu" else torch.relu
    if "input_to_synapse_routing" in config:
        x = x[..., s["input_to_synapse_indices"]] * s["valid_indices_mask"]
    trace, m, out = 0.0, torch.zeros(x.shape[1], len(tau), dtype=torch.float64), []
    branches = config.get("num_branch") or config["num_input"]
    for x_t in x.double():
        trace = fade * trace + s["_proto_w_s"].clamp(min=0) * x_t
        b = trace.view(len(x_t), branches, -1).sum(2)
        h = act(torch.cat([b, keep * m], 1) @ s["mlp.network.0.weight"].T + s["mlp.network.0.bias"])
        u = h @ s["mlp.network.2.weight"].T + s["mlp.network.2.bias"]
        m = keep * m + gain * 1.7159 * torch.tanh(2 / 3 * u)
        out.append(m @ s["w_y.weight"].T + s["w_y.bias"])
    return torch.stack(out)


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("config", [BRANCHED, PLAIN, DRAWN], ids=["branched", "plain", "drawn"])
def test_the_outputs_are_those_of_the_published_equations(config: dict[str, Any], variant: str) -> None:
    torch.manual_seed(0)
    state = weights(config, variant)
    elm = elm_from_weights(config, state)
    x = torch.randint(-1, 2, (60, 3, config["num_input"])).float()
    y, _ = elm(x)
    assert y.shape == (60, 3, 1, config["num_output"])
    wanted = expected(config, state, x, variant)
    torch.testing.assert_close(y[:, :, 0].detach().double(), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def write(folder: Path, config: Any, state: Any) -> Path:
    (folder / "model_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(state, folder / "neuronio_best_model_state.pt")
    return folder


def test_a_folder_is_read_and_damage_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = weights(BRANCHED, "v1")
    elm = released_elm(write(tmp_path, BRANCHED, state))
    assert isinstance(elm, ELM) and elm.dt == 1e-3 and torch.equal(elm.readout[0].detach(), state["w_y.weight"])
    with pytest.raises(FileError, match=r"lacks 'w_y.weight'"):
        released_elm(write(tmp_path, BRANCHED, {k: v for k, v in state.items() if k != "w_y.weight"}))
    with pytest.raises(FileError, match="holds no weights by name"):
        released_elm(write(tmp_path, BRANCHED, [1, 2]))
    with pytest.raises(FileError, match="holds no settings, but list"):
        released_elm(write(tmp_path, [1], state))
    write(tmp_path, BRANCHED, state)
    path = tmp_path / "neuronio_best_model_state.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileError, match=r"neuronio_best_model_state\.pt"):
        released_elm(tmp_path)
    with pytest.raises(FileError, match=r"model_config\.json"):
        released_elm(tmp_path / "nothing")


def test_settings_that_the_neuron_does_not_have_are_refused() -> None:
    state = weights(PLAIN, "v1")
    for change, message in (
        ({"mlp_num_layers": 2}, "mlp_num_layers=2: the perceptron of ELM has one hidden layer"),
        ({"noise": 1}, r"the settings \['noise'\] of an ELM neuron are not known"),
        ({"num_memory": 5}, "inward has .* values; by the settings it has"),
        ({"mlp_activation": "gelu"}, "activation"),
    ):
        with pytest.raises(InputError, match=message):
            elm_from_weights({**PLAIN, **change}, state)
    with pytest.raises(InputError, match="different time constants"):
        elm_from_weights(PLAIN, {**state, "tau_s": torch.arange(7.0) + 1})
    drawn = weights(DRAWN, "v1")
    drawn["input_to_synapse_indices"][0] = 9
    with pytest.raises(InputError, match=r"from an input outside 0 \.\.\. 8"):
        elm_from_weights(DRAWN, drawn)
