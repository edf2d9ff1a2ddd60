"""From a trained run to a chip on the command line: placed, exported, verified, quantised."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from neurosim.cli import app
from tests.cli.test_cli import QUICK, fail, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "quick"
    run("train", folder, *QUICK)
    return folder


def test_place_says_what_a_run_takes(trained: Path, tmp_path: Path) -> None:
    picture, file = tmp_path / "chip.png", tmp_path / "chip.json"
    output = run("place", trained, "--target", "loihi1", "--picture", picture, "--json", file)
    assert "It fits: 2 of 128 cores of Intel Loihi (2018) at 8-bit weights." in output
    assert f"Wrote {picture}." in output and f"Wrote {file}." in output
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads(file.read_text())["cores"] == 2


def test_place_ends_with_1_where_something_does_not_fit(trained: Path, root: Path, tmp_path: Path) -> None:
    text = (root / "hardware_targets" / "loihi1.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("value = 4096", "value = 40").replace('name = "loihi1"', 'name = "mine"'))
    result = CliRunner().invoke(app, ["place", str(trained), "--target", str(mine), "--weight-bits", "4"])
    assert result.exit_code == 1
    assert "hidden: a fan-in of 64 exceeds" in result.output and "would fit: prune the synapses" in result.output


def test_place_takes_nir_and_netx_files(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("nir")
    run("export", trained, "--to", "nir", "--out", tmp_path / "a.nir", "--no-check")
    assert "It fits: 2 of 128 cores" in run("place", tmp_path / "a.nir", "--dt", "1e-3", "--target", "loihi1")
    output = run("export", trained, "--to", "netx", "--out", tmp_path / "a.net", "--bits", "6", "--samples", "3")
    assert "Read back, 0 output bins of 3 samples differ" in output
    assert "It fits: 2 of 128 cores" in run("place", tmp_path / "a.net", "--target", "loihi2")
    assert "It fits: 1 of 128 cores" in run("place", tmp_path / "a.net", "--layers", "3", "--target", "loihi2")


def test_c_is_written_compiled_and_compared(trained: Path, tmp_path: Path) -> None:
    output = run("export", trained, "--to", "c", "--out", tmp_path / "a", "--samples", "2", "--bits", "4")
    assert "with 4-bit weights, 2 samples as test vectors" in output and "bytes of constants" in output
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"network.h", "network.c", "network_vectors.h", "main.c"}
    if shutil.which("gcc"):
        assert "C (gcc) and simulator: 0 values differ" in output and "us on one core" in output


def test_verilog_is_written_and_compared(trained: Path, tmp_path: Path) -> None:
    output = run("export", trained, "--to", "verilog", "--out", tmp_path / "a", "--samples", "1")
    assert "with 8-bit weights, memory images, and a bench with 1 samples" in output
    assert {"network.v", "network_bench.v", "network_weights.mem"} <= {path.name for path in (tmp_path / "a").iterdir()}
    if shutil.which("iverilog"):
        assert "and simulator: 0 values differ" in output and "bench: PASSED" in output


@pytest.mark.skipif(not (shutil.which("yosys") and shutil.which("nextpnr-ice40")), reason="no yosys or nextpnr-ice40")
def test_a_run_is_placed_on_an_fpga_and_the_report_shows_it(trained: Path) -> None:
    assert "It fits: Lattice iCE40 UltraPlus UP5K" in run("place", trained, "--target", "ice40up5k")
    assert json.loads((trained / "fpga.json").read_text())["fits"]
    run("report", trained, "--samples", "4")
    assert "As placed and routed by neurosim place" in (trained / "report.html").read_text()


@pytest.mark.parametrize("bits", range(1, 9))
def test_netx_is_written_with_any_number_of_bits(trained: Path, tmp_path: Path, bits: int) -> None:
    output = run("export", trained, "--to", "netx", "--out", tmp_path / "a.net", "--bits", bits, "--samples", "3")
    assert f"with {bits}-bit weights" in output and "Read back, 0 output bins of 3 samples differ" in output


@pytest.mark.parametrize("to", ["nir", "netx", "lava", "lava-script", "c", "verilog"])
def test_nothing_is_written_for_more_samples_than_there_are(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    message = fail(capsys, monkeypatch, "export", trained, "--to", to, "--out", tmp_path / "a", "--samples", "9999")
    assert "9999" in message and list(tmp_path.iterdir()) == []


def test_a_nir_file_in_steps_is_placed_and_described(tmp_path: Path) -> None:
    nir = pytest.importorskip("nir")
    neurons = nir.LIF(*(np.full(2, value) for value in (8.0, 1.0, 0.0, 1.0, 0.0)))
    nodes = {
        "i": nir.Input(np.array([3])),
        "w": nir.Linear(np.ones((2, 3))),
        "n": neurons,
        "o": nir.Output(np.array([2])),
    }
    path = tmp_path / "steps.nir"
    nir.write(path, nir.NIRGraph(nodes, [("i", "w"), ("w", "n"), ("n", "o")]))
    for command in ("place", "info"):
        result = CliRunner().invoke(app, [command, str(path), "--dt", "1e-3"])
        assert "pass time_unit=1e-3; if it is in steps, time_unit=dt" in str(result.exception)
        assert "n" in run(command, path, "--dt", "1e-3", "--time-unit", "1e-3")
    picture = tmp_path / "steps.svg"
    if importlib.util.find_spec("nirviz") and shutil.which("dot"):
        assert f"Wrote {picture}" in run("info", path, "--dt", "1e-3", "--time-unit", "1e-3", "--picture", picture)
        assert picture.read_text().count('class="edge"') == 3
    result = CliRunner().invoke(app, ["info", str(tmp_path), "--picture", str(picture)])
    assert "--picture draws the graph of a .nir file" in str(result.exception)


def test_what_cannot_be_placed_is_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str | Path) -> str:
        return fail(capsys, monkeypatch, "place", *arguments)

    assert "nothing is neither the folder of a run" in said(tmp_path / "nothing")
    assert "there is no such file" in said(tmp_path / "nothing.net")
    (tmp_path / "a.nir").write_bytes(b"text")
    assert "give one in seconds, such as --dt 1e-3" in said(tmp_path / "a.nir")
    assert "a.nir" in said(tmp_path / "a.nir", "--dt", "1e-3")
    assert "--dt applies to a .nir or .net file" in said(trained, "--dt", "1e-3")
    assert "--time-unit applies to a .nir file" in said(trained, "--time-unit", "1e-3")
    assert "no 'loihi9' among the bundled" in said(trained, "--target", "loihi9")
    assert "loihi1 stores weights of" in said(trained, "--target", "loihi1", "--weight-bits", "9")


def test_export_to_nir_is_read_back_and_compared(trained: Path) -> None:
    pytest.importorskip("nir")
    output = run("export", trained, "--to", "nir", "--samples", "3")
    assert "hidden: 0 of" in output
    assert (trained / "network.nir").exists() and (trained / "nir_check.json").exists()
    assert "output: 0 of" in run("verify", trained, "--against", "nir", "--samples", "3")


def test_a_run_is_quantised_and_compared_with_itself(trained: Path) -> None:
    output = run("quantise", trained, "--bits", "8", "--bits", "3", "--samples", "50")
    assert "real" in output and "8 bits" in output and "3 bits" in output
    results = json.loads((trained / "quantised.json").read_text())["results"]
    assert [result["bits"] for result in results] == [None, 8, 3]
    assert results[1]["mismatch"]["hidden"] < results[2]["mismatch"]["hidden"]
    assert "in integers with 8-bit weights" in run("verify", trained, "--against", "integer", "--samples", "50")
    check = json.loads((trained / "integer_check.json").read_text())
    assert check["accuracy"] == {"real": results[0]["accuracy"], "integer": results[1]["accuracy"]}
    assert set(check["differing"]) == {"hidden", "output"}


def test_verify_runs_the_quantised_network_on_lava(trained: Path) -> None:
    pytest.importorskip("lava")
    output = run("verify", trained, "--against", "lava", "--bits", "8", "--samples", "2")
    assert "0 of" in output and "differ" in output


def test_a_run_is_judged_on_all_targets_and_the_report_shows_it(trained: Path) -> None:
    output = run("verify", trained, "--against", "all", "--samples", "2")
    assert "netx" in output and "bounded" in output
    content = json.loads((trained / "all_check.json").read_text())
    assert content["agrees"] and content["targets"]["netx"]["differing"] == 0
    run("report", trained, "--samples", "2")
    page = (trained / "report.html").read_text()
    assert "<h2>Targets</h2>" in page and "the file, read back" in page


def test_a_script_for_lava_alone_is_written(trained: Path, tmp_path: Path) -> None:
    output = run("export", trained, "--to", "lava-script", "--out", tmp_path / "lava", "--samples", "2", "--no-check")
    assert "network.py" in output
    assert {"network.py", "network.npz", "input.npz"} <= {path.name for path in (tmp_path / "lava").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "RUN", "--to", "onnx"], "'onnx' is not one of 'lava', 'lava-script', 'nir', 'netx'"),
        (["verify", "RUN", "--against", "itself"], "'itself' is not one of 'lava', 'nir', 'integer', 'xylosim', 'all'"),
        (["verify", "RUN", "--against", "nir", "--bits", "8"], "--bits applies to --against lava or integer"),
        (["verify", "RUN", "--against", "xylosim", "--bits", "4"], "weights of Xylo have 8 bits"),
        (["verify", "RUN", "--against", "xylosim"], "each neuron of the chip has a synaptic current: use CubaLIF"),
        (["export", "RUN", "--to", "xylo"], "each neuron of the chip has a synaptic current: use CubaLIF"),
        (["verify", "RUN", "--against", "all", "--bits", "8"], "--bits applies to --against lava or integer"),
        (["verify", "RUN", "--against", "nir", "--samples", "9999"], "samples must be between 1 and 360; got 9999"),
    ],
)
def test_a_wrong_word_is_one_line(
    trained: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filled = [str(trained) if word == "RUN" else word for word in arguments]
    assert message in fail(capsys, monkeypatch, *filled)


def test_the_report_holds_the_chip(trained: Path) -> None:
    run("report", trained, "--samples", "3", "--target", "loihi1")
    text = (trained / "report.html").read_text()
    assert ">Chip<" in text and "It fits: 2 of 128 cores" in text
    assert "mesh hops" not in text


def test_the_report_says_where_it_comes_from(trained: Path) -> None:
    run("report", trained, "--samples", "3", "--target", "loihi1")
    text = (trained / "report.html").read_text()
    identity = json.loads((trained / "run.json").read_text())
    for part in (identity["id"], identity["started"], "seed 0", ">Settings<", "learning_rate", "as 9", "Confusions"):
        assert part in text
    content = json.loads(run("evaluate", trained, "--json", "-"))
    first = content["confusion"][0]
    cells = "".join(f'<td class=number data-v="{float(count)!r}">{count}</td>' for count in first)
    assert f"<td>0</td>{cells}" in text


def test_the_report_of_a_quantised_run(trained: Path) -> None:
    output = run("report", trained, "--samples", "3", "--target", "loihi1", "--target", "horowitz45", "--bits", "6")
    assert "loihi1" in output and "refused" not in output
    text = (trained / "report.html").read_text()
    assert "Quantised to weights of 6 bits" in text and "It fits: 2 of 128 cores of Intel Loihi (2018) at 6-bit" in text


def test_a_hostile_network_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.net"
    with h5py.File(path, "w") as file:
        file["layer/0/type"] = np.array([b"input"], "S10")
        file.create_dataset("layer/0/shape", (2**40,), "i8", chunks=(8,))
    error = fail(capsys, monkeypatch, "place", path)
    assert "/layer/0/shape of shape [1099511627776]" in error and error.count("\n") == 1


def test_the_demonstration_ends_with_the_verdict_of_every_target(tmp_path: Path) -> None:
    pytest.importorskip("lava.magma")
    file = tmp_path / "demo.json"
    output = run("demo", "--out", tmp_path / "demo", "--epochs", "1", "--samples", "1", "--json", file)
    table = output[output.index("target   verdict") :]
    assert all(f"\n{name} " in table for name in ("lava", "loihi", "c", "verilog", "nir")) and "Done in" in table
    content = json.loads(file.read_text())
    assert content["targets"]["agrees"] and content["targets"]["targets"]["lava"]["outcome"] == "exact"
    assert "As written by verify --against all" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
