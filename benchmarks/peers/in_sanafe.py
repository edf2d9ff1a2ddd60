"""A placed network on SANA-FE's Loihi; run by the Python of its environment: ``python in_sanafe.py JOB RESULT``.

SANA-FE has the GPL: it runs in a process of its own and is imported nowhere else. Standard library and sanafe only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sanafe

DENDRITE, SYNAPSE = "loihi_dendrites", "loihi_dense_synapse"
ROWS = 4  # its tiles are numbered down the columns


def built(job: dict[str, Any], arch: Any) -> Any:
    """Build the network of a job and place its neurons."""

    def core(place: list[int]) -> Any:
        x, y, k = place
        return arch.tiles[x * ROWS + y].cores[k]

    net, groups = sanafe.Network(), {}
    for name, group in job["groups"].items():
        made = net.create_neuron_group(
            name,
            len(group["places"]),
            default_synapse_hw_name=SYNAPSE,
            default_dendrite_hw_name=DENDRITE,
            log_spikes=True,
        )
        for k, place in enumerate(group["places"]):
            if "spikes" in group:
                made[k].set_attributes(
                    soma_hw_name=f"loihi_inputs[{k}]", model_attributes={"spikes": group["spikes"][k]}
                )
            else:
                made[k].set_attributes(soma_hw_name="loihi_lif", model_attributes=group["neuron"])
            made[k].map_to_core(core(place))
        groups[name] = made
    for edge in job["edges"]:
        source, target = groups[edge["source"]], groups[edge["target"]]
        for pre, post, weight in edge["synapses"]:
            source[pre].connect_to_neuron(target[post], {"weight": weight})
    return net


def main() -> None:
    """Run a job under each timing model and write what each found."""
    job = json.loads(Path(sys.argv[1]).read_text())
    result = {}
    # Its Loihi, with as many units for inputs as there are: a core has 1024, which take seconds to build.
    text = (Path(sanafe.__file__).parent / "examples" / "loihi.yaml").read_text()
    chip_file = Path(sys.argv[2]).with_name("loihi.yaml")
    chip_file.write_text(text.replace("loihi_inputs[0..1023]", f"loihi_inputs[0..{job['inputs'] - 1}]"))
    for model in job["timing_models"]:
        arch = sanafe.load_arch(str(chip_file))
        chip = sanafe.SpikingChip(arch)
        chip.load(built(job, arch))
        found = chip.sim(job["steps"], timing_model=model, spike_trace=True, perf_trace=True, message_trace=True)
        messages = [
            [m["timestep"] - 1, m["src_neuron_group_id"], m["src_core_id"], m["dest_core_id"], m["spikes"], m["hops"]]
            for step in found["message_trace"]
            for m in step
            if not m["placeholder"]
        ]
        result[model] = {
            "energy": found["energy"],
            "updated": found["perf_trace"]["updated"],
            "times": found["perf_trace"]["sim_time"],
            "spikes": [
                [step, spike.group_name, spike.neuron_offset]
                for step, spikes in enumerate(found["spike_trace"])
                for spike in spikes
            ],
            "messages": messages,
        }
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
