"""The commands of ``neurosim``. Each imports what it needs when it runs: the help does not wait for torch."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurosim.cli import options
from neurosim.cli.data_commands import data_app
from neurosim.cli.options import DEFAULT, Bits, Json, RunFolder, Samples, Targets, Timeout, TimeUnit
from neurosim.cli.output import note, write

if TYPE_CHECKING:
    from neurosim.cli.deploy import Outcome

FPGA_SAMPLES = 10  # test samples that the clock cycles of a step are counted on
DEMO_SAMPLES = 2  # test samples of the demonstration that every target runs
app = typer.Typer(
    name="neurosim",
    help="Train, simulate and deploy spiking neural networks from one description.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="A run is a folder: `train` writes it, the other commands read it. Start with: neurosim demo",
)

app.add_typer(data_app, name="data")


def _print_version(given: bool) -> None:
    if given:
        from neurosim import __version__

        typer.echo(f"neurosim {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train, simulate and deploy spiking neural networks from one description."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/demo"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of training; 25 if omitted.")] = None,
    samples: Samples = 10,
    targets: Annotated[bool, typer.Option(help="Compare with every target whose tools are installed.")] = True,
    json: Json = None,
) -> None:
    """Train on handwritten digits, plot the raster, estimate the energy, and run the network on every target."""
    from neurosim.cli import deploy, folder, products, runs
    from neurosim.cli.settings import Settings

    start = time.perf_counter()
    settings = Settings() if epochs is None else Settings(epochs=epochs)
    note(
        f"Training a 64-{settings.hidden[0]}-10 spiking network on 8x8 handwritten digits, {settings.steps} steps each",
        json,
    )
    # The demonstration replaces an earlier one, and no other run.
    overwrite = (out / folder.IDENTITY).exists() and folder.identity_of(out).command == "demo"
    metrics = runs.train(settings, out, overwrite=overwrite, command="demo", progress=_shows_progress())
    note(f"Test accuracy {metrics['test_accuracy']:.2%} on {metrics['test_samples']} unseen digits.", json)
    run = runs.open_run(out)
    note(f"Running {samples} of them as Lava processes.", json)
    check = products.check_lava(run, samples, timeout=300)
    note(check.summary(), json)
    verdicts = None
    if targets:
        few = min(samples, DEMO_SAMPLES)
        note(f"Comparing {few} of them on every target and in every format that is installed.", json)
        verdicts = deploy.against_all(run, few, None, 300.0)
    energy, latency = products.write_report_of(run, samples, (), check)
    content = {"metrics": metrics, "lava": products.plain(check), "energy": energy.to_dict()}
    shown = [energy.table()]
    if latency is not None:
        content["latency"] = latency.to_dict()
        shown += ["", latency.table()]
    if verdicts is not None:
        content["targets"] = verdicts.content
        shown += ["", verdicts.text]
    shown.append(f"Done in {time.perf_counter() - start:.0f} s. Open {out / 'report.html'}.")
    write("\n".join(shown), content, json)
    if not check.agrees or (verdicts is not None and not verdicts.good):
        raise typer.Exit(1)


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder for the run; created if missing.", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings, such as the run.toml of another run; options here come before it."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="A name such as digits or mnist, a TOML card, or FILE.py:FUNCTION, which returns a Split.",
            show_default=DEFAULT.dataset,
            autocompletion=options.complete_dataset,
        ),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data files; the variable NEUROSIM_DATA if omitted.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Custom network: FILE.py:FUNCTION, called with (shape, classes, dt).")
    ] = None,
    hidden: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Size of a hidden population; may be repeated.", show_default="256"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps per sample.", show_default=str(DEFAULT.steps))] = None,
    dt: Annotated[float | None, typer.Option(help="Length of a step, s.", show_default=str(DEFAULT.dt))] = None,
    encoder: Annotated[
        options.EncoderName | None, typer.Option(help="How values become spikes.", show_default=DEFAULT.encoder)
    ] = None,
    tau_mem: Annotated[
        float | None, typer.Option(help="Membrane time constant, s.", show_default=str(DEFAULT.tau_mem))
    ] = None,
    gain: Annotated[
        float | None, typer.Option(help="Input gain r of the neurons.", show_default=str(DEFAULT.gain))
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="A rule of neurosim.learning, such as bptt, sltt or e-prop, or FILE.py:FUNCTION.",
            show_default=DEFAULT.rule,
            autocompletion=options.complete_rule,
        ),
    ] = None,
    rule_option: Annotated[
        list[str] | None, typer.Option(help="Argument of the rule, such as k=4 for sltt; may be repeated.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="A loss of neurosim.learning, such as cross-entropy, or FILE.py:FUNCTION.",
            show_default=DEFAULT.loss,
            autocompletion=options.complete_loss,
        ),
    ] = None,
    loss_option: Annotated[list[str] | None, typer.Option(help="Argument of the loss; may be repeated.")] = None,
    optimizer: Annotated[
        options.OptimizerName | None, typer.Option(help="Optimizer of torch.optim.", show_default=DEFAULT.optimizer)
    ] = None,
    optimizer_option: Annotated[
        list[str] | None, typer.Option(help="Argument of the optimizer, such as weight_decay=1e-4; may be repeated.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Initial learning rate.", show_default=str(DEFAULT.learning_rate))
    ] = None,
    schedule: Annotated[
        options.ScheduleName | None,
        typer.Option(
            help="Learning rate over the epochs: falling to zero, or constant.", show_default=DEFAULT.schedule
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs.", show_default=str(DEFAULT.epochs))] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples in a batch.", show_default=str(DEFAULT.batch_size))
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="Share of the training samples held out and tested after each epoch.", show_default="0"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many epochs without a new lowest loss (of validation, if any)."),
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of the training, such as cuda.", show_default=DEFAULT.device)
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, help="Parts of each batch, shared by the ranks that torchrun starts; a multiple of these."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed.", show_default=str(DEFAULT.seed))] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in the folder with its settings; --epochs may be larger."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove an earlier run in the folder.")] = False,
    json: Json = None,
) -> None:
    """Train a network and test it once at the end. The settings are written to run.toml in the folder."""
    from neurosim.cli.settings import Settings, read_settings

    given = {name: value for name, value in locals().items() if name in DEFAULT.table() and value is not None}
    if data_root is not None:
        given["data_root"] = str(data_root)
    table = {**({} if config is None else read_settings(config)), **given}

    from neurosim.cli import folder, runs
    from neurosim.errors import InputError
    from neurosim.network.ranks import is_first_rank

    if resume and overwrite:
        raise InputError("--resume continues a run and --overwrite removes it: give one of them.")
    before = folder.settings_of(out).table() if resume else {}
    metrics = runs.train(
        Settings.of({**before, **table}), out, resume=resume, overwrite=overwrite, progress=_shows_progress()
    )
    if not is_first_rank():
        return
    score = f"{metrics['test_accuracy']:.2%} on {metrics['test_samples']} samples"
    write(f"Test accuracy {score}; see {out / 'metrics.json'}.", metrics, json)


@app.command()
def evaluate(
    run: RunFolder,
    part: Annotated[options.Part, typer.Option(help="Part of the dataset.")] = "test",
    samples: Annotated[int | None, typer.Option(min=1, help="The first samples; all if omitted.")] = None,
    weights: Annotated[options.Weights, typer.Option(help="Of the last epoch, or of the lowest loss.")] = "last",
    device: Annotated[str, typer.Option(help="Device of the run, such as cuda.")] = "cpu",
    json: Json = None,
) -> None:
    """Test a trained run: loss, accuracy, and the confusions of its classes."""
    from neurosim.cli import results, runs

    result = results.evaluated(runs.open_run(run, weights), part, samples, runs.device(device))
    write(result.text, result.content, json)


@app.command()
def info(
    source: Annotated[
        Path, typer.Argument(help="Folder of a run, or a .pt, .nir, .net or .h5 file.", show_default=False)
    ],
    dt: Annotated[float | None, typer.Option(help="Length of a step, s; needed for a .nir file.")] = None,
    time_unit: TimeUnit = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the graph of a .nir file to this file (svg, png).")] = None,
    json: Json = None,
) -> None:
    """Describe a run, a checkpoint, a network or a recording."""
    from neurosim.cli import results

    result = results.described(source, dt, time_unit, picture)
    write(result.text, result.content, json)


@app.command()
def targets(
    name: Annotated[
        str | None,
        typer.Argument(help="A chip or energy model, by name or TOML file.", autocompletion=options.complete_target),
    ] = None,
    json: Json = None,
) -> None:
    """List the chips and energy models, or describe one."""
    from neurosim.cli import results

    result = results.targets(name)
    write(result.text, result.content, json)


@app.command()
def simulate(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="HDF5 file for the recording.")],
    samples: Samples = 10,
    record: Annotated[
        list[str] | None, typer.Option(help='"node" or "node.variable"; may be repeated. All spikes if omitted.')
    ] = None,
    json: Json = None,
) -> None:
    """Simulate a trained run on test samples and write a recording (HDF5)."""
    from neurosim.cli import runs
    from neurosim.simulation import simulate as run_network

    finished = runs.open_run(run)
    x, _ = runs.samples(finished.settings, finished.split, samples)
    with run_network(finished.net, x, record=record, path=out, progress=_shows_progress()) as recording:
        rates = recording.rates()
        content = {name: {"spikes": len(recording.spikes[name]), "rate": hertz} for name, hertz in rates.items()}
    lines = [f"{name}: {each['spikes']} spikes, {each['rate']:.1f} Hz" for name, each in content.items()]
    write("\n".join([*lines, f"Wrote {out}."]), {"recording": str(out), "populations": content}, json)


@app.command()
def sweep(
    file: Annotated[
        Path, typer.Argument(help="TOML file of the sweep: function, parameters, path.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="NetCDF file of the data set; that of the file if omitted.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes, or jobs at a time on a cluster; 0: this process alone.")
    ] = None,
    dask: Annotated[str | None, typer.Option(help="Address of the scheduler of a Dask cluster.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a sweep that ended early.")] = False,
    json: Json = None,
) -> None:
    """Run a function or a network for many values of its parameters, and write one data set (NetCDF)."""
    from neurosim.cli import sweeps

    result = sweeps.run(file, out, workers, dask, resume=resume, progress=_shows_progress())
    write(result.text, result.content, json)
    if result.content["failed"]:
        raise typer.Exit(1)


@app.command()
def arena(
    names: Annotated[
        list[str] | None, typer.Argument(help="Sets, such as braille; all eight if omitted.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; an interrupted arena continues there.")] = Path(
        "runs/arena"
    ),
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data files; the variable NEUROSIM_DATA if omitted.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each set.")] = 3,
    workers: Annotated[int, typer.Option(min=1, help="Processes at a time, of one thread each.")] = 2,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few samples and one epoch: shows that everything runs.")
    ] = False,
    json: Json = None,
) -> None:
    """Train and test small networks on eight real sets; print and write what they reach and what they cost."""
    from neurosim.arena import run_arena

    found = run_arena(
        out,
        data_root,
        names=names or (),
        seeds=seeds,
        workers=workers,
        quick=quick,
        progress=lambda line: note(line, json),
    )
    found.to_json(out / "arena.json")
    found.to_html(out / "arena.html")
    write(f"{found.table()}\nWrote {out / 'arena.json'} and {out / 'arena.html'}.", found.to_dict(), json)


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folder of a run; several are compared.", show_default=False),
    ],
    samples: Samples = 10,
    target: Targets = None,
    bits: Annotated[int | None, typer.Option(min=1, max=8, help="Quantise first to weights of this many bits.")] = None,
    out: Annotated[Path, typer.Option(help="Page of a comparison of several runs.")] = Path("comparison.html"),
    json: Json = None,
) -> None:
    """Plot raster, traces and learning curve, estimate energy and time, place on a chip, and write report.html.

    Of several runs, write one page with their metrics, the settings that differ and the learning curves side by side.
    """
    from neurosim.cli import comparing, products
    from neurosim.cli.runs import open_run
    from neurosim.files.lock import owned

    if len(runs) > 1:
        rows = comparing.write_comparison(runs, out)
        write(f"Wrote {out}.", {"runs": rows}, json)
        return
    (run,) = runs
    finished = open_run(run)
    with owned(run):
        energy, latency = products.write_report_of(finished, samples, tuple(target or ()), bits=bits)
    content, shown = energy.to_dict(), energy.table()
    if latency is not None:
        content["latency"] = latency.to_dict()
        shown += f"\n\n{latency.table()}"
    write(f"{shown}\nWrote {run / 'report.html'}.", content, json)


@app.command()
def place(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or a .nir or .net file.", show_default=False)],
    target: options.Target = "loihi2",
    weight_bits: Annotated[
        int | None, typer.Option(min=1, help="Bits of a stored weight; the chip's, or 8, if omitted.")
    ] = None,
    chips: Annotated[int, typer.Option(min=1, help="Number of chips available.")] = 1,
    storage: Annotated[options.Storage, typer.Option(help="How synapses are stored.")] = "auto",
    dt: Annotated[float | None, typer.Option(help="Length of a step, s; needed for a .nir file.")] = None,
    time_unit: TimeUnit = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Number of layers to read of a .net file.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the chip to this file (png, svg, pdf).")] = None,
    json: Json = None,
) -> None:
    """Place a network on the cores of a chip: cores used, the binding limit, what would make it fit.

    A run is quantised, placed and routed on an FPGA, such as ice40up5k.
    """
    from neurosim.cli import deploy, runs
    from neurosim.files.lock import owned
    from neurosim.hardware.targets import load_target

    if load_target(target).kind == "fpga":
        finished = runs.open_run(source)
        with owned(source):
            routed = deploy.place_fpga(finished, target, weight_bits or 8, FPGA_SAMPLES)
        write(routed.table(), routed.to_dict(), json)
        return
    net = deploy.network_of(source, dt, layers, time_unit)
    placed = deploy.place(net, target, weight_bits=weight_bits, chips=chips, storage=storage, picture=picture)
    drawn = "" if picture is None else f"\nWrote {picture}."
    write(f"{placed.table()}{drawn}", placed.to_dict(), json)
    if not placed.fits:
        raise typer.Exit(1)


@app.command()
def quantise(
    run: RunFolder,
    bits: Annotated[
        list[int] | None, typer.Option(min=1, max=8, help="Bits of a weight; may be repeated. 8, 6 and 4 if omitted.")
    ] = None,
    samples: Samples = 200,
    json: Json = None,
) -> None:
    """Quantise a trained run to Loihi's integers and report the accuracy against the bits of its weights."""
    from neurosim.cli import deploy, runs
    from neurosim.files.lock import owned

    finished = runs.open_run(run)
    with owned(run):
        outcome = deploy.quantise(finished, tuple(bits or deploy.BITS), samples)
    _report(json, outcome)


@app.command()
def export(
    run: RunFolder,
    to: Annotated[options.Kind, typer.Option(help="Format; netx is lava-dl's .net, c is C99.")] = "lava",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File, or folder; default in the run: lava.npz, network.nir, network.net, lava/, c/, verilog/."
        ),
    ] = None,
    check: Annotated[bool, typer.Option(help="Run or read back what was written and compare every spike.")] = True,
    bits: Bits = 8,
    samples: Samples = 10,
    timeout: Timeout = 300.0,
    json: Json = None,
) -> None:
    """Export a trained run to Lava or NIR, or quantised to netx, C, Verilog or Xylo, and check it."""
    from neurosim.cli import deploy, runs
    from neurosim.files.lock import owned

    finished = runs.open_run(run)
    with owned(run):
        outcomes = deploy.export(finished, to, out, check, samples, bits, timeout)
    _report(json, *outcomes)


@app.command()
def verify(
    run: RunFolder,
    against: Annotated[options.Judge, typer.Option(help="What the run is compared with.")] = "lava",
    bits: Annotated[
        int | None,
        typer.Option(
            min=1, max=8, help="Quantise first to weights of this many bits (lava: fixed point; integer: 8 if omitted)."
        ),
    ] = None,
    samples: Samples = 20,
    timeout: Timeout = 300.0,
    json: Json = None,
) -> None:
    """Compare a trained run with a Lava run, a NIR file read back or itself in integers, or on all targets."""
    from neurosim.cli import deploy, runs
    from neurosim.files.lock import owned

    finished = runs.open_run(run)
    with owned(run):
        outcome = deploy.verify(finished, against, samples, bits, timeout)
    _report(json, outcome)


def _report(json: Path | None, *outcomes: Outcome) -> None:
    """Print the outcomes; exit code 1 where two sides differ that must agree."""
    content: dict[str, Any] = {}
    for outcome in outcomes:
        content |= outcome.content
    good = all(outcome.good for outcome in outcomes)
    write("\n".join(outcome.text for outcome in outcomes), {**content, "good": good}, json)
    if not good:
        raise typer.Exit(1)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All if omitted.")] = None,
    json: Json = None,
    data: Annotated[Path | None, typer.Option(help="Folder with N-MNIST recordings, for conv-step.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot the result of crossover to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, to see that everything runs.")] = False,
    peers: Annotated[Path | None, typer.Option(help="Environments of circuit simulators, for circuits.")] = None,
) -> None:
    """Time neurosim against other libraries; needs a source checkout."""
    from neurosim.cli.benchmarks import run

    raise typer.Exit(run(names or [], json, data, plot, quick, peers))


@app.command()
def doctor(json: Json = None) -> None:
    """Report what is installed, which kernels run, and how to get what is missing."""
    from neurosim.cli.health import findings

    found = list(findings())
    write(
        "\n".join(each.line() for each in found),
        [{"good": each.good, "finding": each.text, "remedy": each.remedy} for each in found],
        json,
    )
    if not all(each.good for each in found):
        raise typer.Exit(1)


def _shows_progress() -> bool:
    """Return whether standard error is a terminal: a progress bar in a file is many lines."""
    return sys.stderr.isatty()
