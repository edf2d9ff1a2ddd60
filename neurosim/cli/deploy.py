"""Deployment of a trained run: place, quantise, export, verify."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurosim.cli.runs import Finished, first, loss, open_run, samples
from neurosim.errors import FileError, InputError
from neurosim.files.atomic import json_text, replaced
from neurosim.learning import evaluate
from neurosim.network.network import Network

if TYPE_CHECKING:
    from neurosim.hardware.placement import GroupPlacement, Placement
    from neurosim.hardware.verilog import FpgaPlacement

KINDS = ("lava", "lava-script", "nir", "netx", "c", "verilog", "xylo")
JUDGES = ("lava", "nir", "integer", "xylosim", "all")
BITS = (8, 6, 4)
ALL_CHECK, FPGA = "all_check.json", "fpga.json"
SCALE_SAMPLES = 256  # training samples that scales are searched on


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a command.

    Attributes
    ----------
    text : str
        The text to print.
    content : dict
        The same in plain values.
    good : bool
        False where two sides that must agree do not.
    """

    text: str
    content: dict[str, Any]
    good: bool = True


def network_of(
    source: Path, dt: float | None = None, layers: int | None = None, time_unit: float | None = None
) -> Network:
    """Read a network: from the folder of a run, or from a ``.nir`` or ``.net`` file.

    Raises
    ------
    InputError
        When `source` is none of them, a ``.nir`` file is given without `dt`, or another with `time_unit`, or a run with
        `dt`.
    FileError
        When it cannot be read.
    """
    kind = source.suffix.lower()
    if kind == ".nir" and not source.is_dir():
        from neurosim.exchange.nir import from_nir

        if dt is None:
            raise InputError(f"{source.name}: NIR has no time step; give one in seconds, such as --dt 1e-3.")
        return from_nir(source, dt=dt, time_unit=1.0 if time_unit is None else time_unit)
    if time_unit is not None:
        raise InputError("--time-unit applies to a .nir file; a .net file is in steps, and a run in seconds.")
    if kind == ".net" and not source.is_dir():
        from neurosim.hardware.netx import read_netx

        return read_netx(source, layers=layers) if dt is None else read_netx(source, layers=layers, dt=dt)
    if dt is not None or layers is not None:
        raise InputError("--dt applies to a .nir or .net file, --layers to a .net file; a run has its own.")
    if not source.is_dir():
        raise FileError(f"{source} is neither the folder of a run nor a .nir or .net file. Check the path.")
    return open_run(source).net


def place(
    net: Network,
    target: str,
    *,
    weight_bits: int | None,
    chips: int,
    storage: str,
    picture: Path | None,
) -> Placement | GroupPlacement:
    """Place a network; draw the chip where a path is given."""
    from neurosim.hardware import load_target
    from neurosim.hardware.placement import place as place_on
    from neurosim.hardware.placement import place_groups
    from neurosim.hardware.placement.groups import is_of_groups
    from neurosim.report import chip_map, save_figure

    if is_of_groups(load_target(target)):
        if picture is not None:
            raise InputError(f"{target} has no cores to draw; leave out --picture.")
        return place_groups(net, target)
    placement = place_on(net, target, weight_bits=weight_bits, chips=chips, storage=storage)  # type: ignore[arg-type]
    if picture is not None:
        save_figure(chip_map(placement), picture)
    return placement


def place_fpga(run: Finished, target: str, bits: int, number: int) -> FpgaPlacement:
    """Quantise a run, place and route it on an FPGA, and write ``fpga.json`` to the run."""
    from neurosim.hardware.verilog import place_fpga as place_on

    x, _ = samples(run.settings, run.split, number)
    placed = place_on(quantised(run, bits), target, x)
    json_text(placed.to_dict(), run.folder / FPGA)
    return placed


def export(
    run: Finished, to: str, out: Path | None, check: bool, number: int, bits: int, timeout: float
) -> list[Outcome]:
    """Write a run in one of `KINDS`; with `check`, read or run the result and compare every spike."""
    writers: dict[str, tuple[str, Callable[..., Outcome]]] = {
        "lava": ("lava.npz", _export_lava),
        "lava-script": ("lava", _export_script),
        "nir": ("network.nir", _export_nir),
        "netx": ("network.net", _export_netx),
        "c": ("c", _export_c),
        "xylo": ("xylo.json", _export_xylo),
        "verilog": ("verilog", _export_verilog),
    }
    if to not in writers:
        raise InputError(f"--to must be one of {', '.join(KINDS)}; got {to!r}.")
    name, write = writers[to]
    samples(run.settings, run.split, number)  # a wrong number is refused before anything is written
    place = out or run.folder / name
    outcomes = [write(run, place, number, bits)]
    if check and to in ("lava", "lava-script"):
        outcomes.append(_against_lava(run, number, None, timeout))
    elif check and to == "nir":
        outcomes.append(_against_nir(run, number, None, timeout))
    elif check and to == "c":
        outcomes.append(_check_c(run, number, bits, timeout))
    elif check and to == "xylo":
        outcomes.append(_against_xylosim(run, number, None, timeout))
    elif check and to == "verilog":
        outcomes.append(_check_verilog(run, number, bits, timeout))
    return outcomes


def verify(run: Finished, against: str, number: int, bits: int | None, timeout: float) -> Outcome:
    """Compare a run with one of `JUDGES` on test samples, and write ``NAME_check.json`` to the run."""
    judges = {
        "lava": _against_lava,
        "nir": _against_nir,
        "integer": _against_integer,
        "xylosim": _against_xylosim,
        "all": against_all,
    }
    if against not in judges:
        raise InputError(f"--against must be one of {', '.join(JUDGES)}; got {against!r}.")
    return judges[against](run, number, bits, timeout)


def quantise(run: Finished, bits: Sequence[int], number: int) -> Outcome:
    """Quantise a run to each number of bits, test the integer networks, and write ``quantised.json`` to the run."""
    from neurosim.hardware.quantise import accuracy_against_bits

    test = first(run.settings, run.split.test, number)
    report = accuracy_against_bits(run.net, _scale_samples(run), [test], loss(run.settings), bits=bits)
    content = {"samples": number, "results": report.to_json()}
    json_text(content, run.folder / "quantised.json")
    return Outcome(f"{report.table()}\nOn {number} test samples.", content)


def _export_lava(run: Finished, place: Path, number: int, bits: int) -> Outcome:
    from neurosim.hardware.lava import to_lava

    to_lava(run.net).save(place)
    return Outcome(f"Wrote {place}.", {"written": str(place)})


def _export_script(run: Finished, place: Path, number: int, bits: int) -> Outcome:
    from neurosim.hardware.lava import to_lava

    x, _ = samples(run.settings, run.split, number)
    script = to_lava(run.net).save_script(place, x)
    return Outcome(
        f"Wrote {script}, with its weights and {number} samples beside it. It needs only lava-nc and Python 3.10.",
        {"written": str(script)},
    )


def _export_nir(run: Finished, place: Path, number: int, bits: int) -> Outcome:
    from neurosim.exchange.nir import write_nir

    write_nir(run.net, place)
    return Outcome(f"Wrote {place}.", {"written": str(place)})


def _export_netx(run: Finished, place: Path, number: int, bits: int) -> Outcome:
    from neurosim.hardware.loihi import describe
    from neurosim.hardware.netx import connection_steps, read_netx, write_netx
    from neurosim.hardware.netx.reading import BIAS_EXPONENT
    from neurosim.hardware.quantise import quantise

    x, _ = samples(run.settings, run.split, number)
    scale_samples = _scale_samples(run)
    integer = quantise(run.net, scale_samples, bits=bits, weight_exponents=False, bias_exponent=BIAS_EXPONENT).net
    timing = ""
    if any(registers.bias_mant.any() for registers in describe(integer).populations.values()):
        integer = connection_steps(integer)
        timing = " On the chip its biases act before the data arrive; it is compared with the same in the simulator."
    write_netx(integer, place)
    back = read_netx(place, dt=run.settings.dt)
    if _dtype(integer) == torch.float64:
        back = back.double()
    ours, read = _outputs(integer, x)[-1], _outputs(back, x)[-1]
    differing = int((ours != read).sum())
    silent = "" if ours.any() or read.any() else " Neither sent a spike, so that this shows nothing: take more samples."
    text = (
        f"Wrote {place} with {bits}-bit weights.{timing} Read back, {differing} output bins of {number} samples differ."
        f"{silent}"
    )
    content = {"written": str(place), "bits": bits, "samples": number, "differing": differing}
    return Outcome(text, content, not differing)


def _export_c(run: Finished, place: Path, number: int, bits: int) -> Outcome:
    from neurosim.hardware.c import MACHINES, report_c, write_c

    x, _ = samples(run.settings, run.split, number)
    integer = quantised(run, bits)
    program = write_c(integer, place, x)
    report = report_c(integer, x, clocked=not MACHINES["gcc"].missing)
    text = f"Wrote {place}/{program.name}.c with {bits}-bit weights, {number} samples as test vectors, and main.c.\n"
    content = {"written": str(place), "bits": bits, "c": json.loads(report.to_json())}
    return Outcome(text + report.summary(), content)


def _check_c(run: Finished, number: int, bits: int, timeout: float) -> Outcome:
    """Run the C program of a run on the machines that are installed, and compare every state."""
    from neurosim.hardware.c import MACHINES, verify_c

    x, _ = samples(run.settings, run.split, number)
    integer = quantised(run, bits)
    machines = [name for name in ("gcc", "cortex-m4") if not MACHINES[name].missing]
    if not machines:
        return Outcome(f"Not compared: gcc is not installed ({MACHINES['gcc'].packages}).", {"verified": {}})
    results = {name: verify_c(integer, x, machine=name, timeout=timeout) for name in machines}
    text = "\n".join(result.summary() for result in results.values())
    content = {name: json.loads(result.to_json()) for name, result in results.items()}
    return Outcome(text, {"verified": content}, all(result.agrees for result in results.values()))


def _export_xylo(run: Finished, place: Path, number: int, bits: int) -> Outcome:
    from neurosim.hardware.xylo import to_xylo

    chip = to_xylo(_on_xylo(run), run.settings.dataset).configuration
    chip.to_json(place)
    sizes = f"{chip.inputs} inputs, {chip.hidden} hidden and {chip.outputs} output neurons"
    return Outcome(f"Wrote {place}: {sizes}.", {"written": str(place)})


def _against_xylosim(run: Finished, number: int, bits: int | None, timeout: float) -> Outcome:
    from neurosim.hardware.xylo import verify_xylo

    if bits not in (None, BITS[0]):
        raise InputError(f"--bits is not for --against xylosim: weights of Xylo have {BITS[0]} bits.")
    x, _ = samples(run.settings, run.split, number)
    result = verify_xylo(_on_xylo(run), x, timeout=timeout)
    with replaced(run.folder / "xylosim_check.json") as part:
        part.write_text(result.to_json(), encoding="utf-8")
    return Outcome(result.summary(), {"xylosim": json.loads(result.to_json())}, result.agrees)


def _on_xylo(run: Finished) -> Network:
    """Quantise the network of a run to Xylo's integers."""
    from neurosim.hardware.xylo import quantise_xylo

    return quantise_xylo(run.net, _scale_samples(run)).net


def _export_verilog(run: Finished, place: Path, number: int, bits: int) -> Outcome:
    from neurosim.hardware.verilog import write_verilog

    x, _ = samples(run.settings, run.split, number)
    design = write_verilog(quantised(run, bits), place, x)
    text = f"Wrote {place}/{design.name}.v with {bits}-bit weights, memory images, and a bench with {number} samples."
    return Outcome(text, {"written": str(place), "bits": bits})


def _check_verilog(run: Finished, number: int, bits: int, timeout: float) -> Outcome:
    """Simulate the Verilog design of a run, and compare every state."""
    from neurosim.hardware.verilog import tools, verify_verilog

    simulators = [name for name, programs in tools.SIMULATORS.items() if not tools.missing(programs)]
    if not simulators:
        return Outcome("Not compared: iverilog is not installed (apt-get install iverilog).", {"verified": {}})
    x, _ = samples(run.settings, run.split, number)
    result = verify_verilog(quantised(run, bits), x, simulator=simulators[-1], timeout=timeout)
    return Outcome(result.summary(), {"verified": json.loads(result.to_json())}, result.agrees)


def _against_lava(run: Finished, number: int, bits: int | None, timeout: float) -> Outcome:
    from neurosim.hardware.lava import verify

    x, _ = samples(run.settings, run.split, number)
    net = run.net if bits is None else quantised(run, bits)
    result = verify(net, x, timeout=timeout)
    with replaced(run.folder / "lava_check.json") as part:
        part.write_text(result.to_json(), encoding="utf-8")
    return Outcome(result.summary(), {"lava": json.loads(result.to_json())}, result.agrees)


def _against_nir(run: Finished, number: int, bits: int | None, timeout: float) -> Outcome:
    from neurosim.exchange.nir import verify_nir

    if bits is not None:
        raise InputError("--bits applies to --against lava or integer; NIR holds floating-point networks.")
    x, _ = samples(run.settings, run.split, number)
    result = verify_nir(run.net, x)
    nodes = [dataclasses.asdict(node) for node in result.nodes]
    content = {"samples": number, "nodes": nodes}
    json_text(content, run.folder / "nir_check.json")
    text = f"Written as NIR, read back and compared with the network:\n{result}"
    return Outcome(text, {"nir": content}, result.agrees)


def _against_integer(run: Finished, number: int, bits: int | None, timeout: float) -> Outcome:
    """Compare with the same network quantised to integers; a difference is expected, so the outcome is good."""
    bits = bits or BITS[0]
    x, y = first(run.settings, run.split.test, number)
    integer = quantised(run, bits)
    accuracy = {"real": _accuracy(run, run.net, x, y), "integer": _accuracy(run, integer, x, y)}
    outputs = zip(run.net.neurons(), _outputs(run.net, x), _outputs(integer, x), strict=True)
    differing = {name: float((a != b).double().mean()) for name, a, b in outputs}
    content = {"samples": number, "bits": bits, "accuracy": accuracy, "differing": differing}
    json_text(content, run.folder / "integer_check.json")
    bins = ", ".join(f"{name} {share:.2%}" for name, share in differing.items())
    real, rounded = (f"{accuracy[kind]:.2%}" for kind in ("real", "integer"))
    return Outcome(
        f"Accuracy on {number} samples: {real} in floating point, {rounded} in integers with {bits}-bit weights.\n"
        f"Spike bins that differ: {bins}.",
        {"integer": content},
    )


def against_all(run: Finished, number: int, bits: int | None, timeout: float) -> Outcome:
    """Judge the run on every target and in every format."""
    from neurosim.verdicts import verify_all

    if bits is not None:
        raise InputError("--bits applies to --against lava or integer; --against all quantises to 8 bits where needed.")
    x, _ = samples(run.settings, run.split, number)
    verdicts = verify_all(run.net, x)
    content = json.loads(verdicts.to_json(run.folder / ALL_CHECK))
    return Outcome(verdicts.table(), {"samples": number, **content}, verdicts.agrees)


def quantised(run: Finished, bits: int) -> Network:
    """Quantise the network of a run."""
    from neurosim.hardware.quantise import quantise

    return quantise(run.net, _scale_samples(run), bits=bits).net


def _scale_samples(run: Finished) -> Tensor:
    """Return the training samples that scales are searched on."""
    return first(run.settings, run.split.train, min(SCALE_SAMPLES, len(run.split.train)))[0]


def _outputs(net: Network, x: Tensor) -> list[Tensor]:
    """Return the output of each population, that of the network last."""
    names = [*net.neurons(), net.output]
    net.eval()
    with torch.no_grad():
        values = net.run(x.to(_dtype(net)), None, names).recorded
    return [values[name].double() for name in net.neurons()]


def _accuracy(run: Finished, net: Network, x: Tensor, y: Tensor) -> float:
    return evaluate(net, [(x.to(_dtype(net)), y)], loss=loss(run.settings))["accuracy"]


def _dtype(net: Network) -> torch.dtype:
    return next((p.dtype for p in net.parameters()), torch.float32)
