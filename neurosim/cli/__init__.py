"""The command line: train, simulate, report, place, quantise, export, verify; see ``neurosim --help``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurosim.errors import NeurosimError

if TYPE_CHECKING:
    from neurosim.cli.deploy import Outcome

app = typer.Typer(
    name="neurosim",
    help="Train, simulate and deploy spiking neural networks from one description.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="A run is a folder: `train` writes it, the other commands read it. Start with: neurosim demo",
)

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, written by train or demo.", show_default=False)]
Samples = Annotated[int, typer.Option(min=1, help="Number of test samples.")]
Targets = Annotated[
    list[str] | None, typer.Option("--target", help="Chip or energy model, by name or TOML file; may be repeated.")
]
Bits = Annotated[int, typer.Option(min=1, max=8, help="Bits of a weight, including its sign.")]
Timeout = Annotated[float, typer.Option(min=1, help="Time limit for Lava, s.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/demo"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of training; 25 if omitted.")] = None,
    samples: Samples = 10,
) -> None:
    """Train on handwritten digits, plot the raster, estimate the energy, and run the network on Lava."""
    from neurosim.cli import products, runs

    start = time.perf_counter()
    config = runs.Config() if epochs is None else runs.Config(epochs=epochs)
    typer.echo(
        f"Training a 64-{config.hidden[0]}-10 spiking network on 8x8 handwritten digits, {config.steps} steps each."
    )
    metrics = runs.train(config, out)
    typer.echo(f"Test accuracy {metrics['test_accuracy']:.2%} on {metrics['test_samples']} unseen digits.")
    run = runs.open_run(out)
    typer.echo(f"Running {samples} of them as Lava processes.")
    check = products.check_lava(run, samples, timeout=300)
    typer.echo(check.summary())
    report = products.write_report_of(run, samples, (), check)
    typer.echo(report.table())
    typer.echo(f"Done in {time.perf_counter() - start:.0f} s. Open {out / 'report.html'}.")
    if not check.agrees:
        raise typer.Exit(1)


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder for the run; created if missing.", show_default=False)],
    dataset: Annotated[
        str, typer.Option(help="Dataset: a name such as digits, mnist or fashion_mnist, or a TOML card.")
    ] = "digits",
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data files; the variable NEUROSIM_DATA if omitted.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Custom network: FILE.py:FUNCTION, called with (shape, classes, dt).")
    ] = None,
    hidden: Annotated[list[int] | None, typer.Option(help="Size of a hidden population; may be repeated.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps per sample.")] = 32,
    dt: Annotated[float, typer.Option(help="Length of a step, s.")] = 1e-3,
    encoder: Annotated[str, typer.Option(help="rate, latency or direct.")] = "rate",
    tau_mem: Annotated[float, typer.Option(help="Membrane time constant, s.")] = 5e-3,
    gain: Annotated[float, typer.Option(help="Input gain r of the neurons.")] = 5.0,
    rule: Annotated[
        str, typer.Option(help="A rule of neurosim.learning, such as bptt, sltt or e-prop, or FILE.py:FUNCTION.")
    ] = "bptt",
    rule_option: Annotated[
        list[str] | None, typer.Option(help="Argument of the rule, such as k=4 for sltt; may be repeated.")
    ] = None,
    loss: Annotated[
        str, typer.Option(help="A loss of neurosim.learning, such as cross-entropy, or FILE.py:FUNCTION.")
    ] = "rate-cross-entropy",
    loss_option: Annotated[list[str] | None, typer.Option(help="Argument of the loss; may be repeated.")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 25,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    learning_rate: Annotated[
        float, typer.Option(help="Initial learning rate of Adam; it falls to zero along a cosine.")
    ] = 2e-3,
    seed: int = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in the folder.")] = False,
) -> None:
    """Train a network and test it once at the end."""
    from neurosim.cli import runs
    from neurosim.cli.choices import options_of

    config = runs.Config(
        dataset=dataset,
        data_root=None if data_root is None else str(data_root),
        network=network,
        hidden=tuple(hidden or (256,)),
        steps=steps,
        dt=dt,
        encoder=encoder,
        tau_mem=tau_mem,
        gain=gain,
        rule=rule,
        rule_options=options_of("rule", rule_option or ()),
        loss=loss,
        loss_options=options_of("loss", loss_option or ()),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    metrics = runs.train(config, out, resume=resume)
    score = f"{metrics['test_accuracy']:.2%} on {metrics['test_samples']} samples"
    typer.echo(f"Test accuracy {score}; see {out / 'metrics.json'}.")


@app.command()
def simulate(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="HDF5 file for the recording.")],
    samples: Samples = 10,
    record: Annotated[
        list[str] | None, typer.Option(help='"node" or "node.variable"; may be repeated. All spikes if omitted.')
    ] = None,
) -> None:
    """Simulate a trained run on test samples and write a recording (HDF5)."""
    from neurosim.cli import runs
    from neurosim.simulation import simulate as run_network

    finished = runs.open_run(run)
    x, _ = runs.samples(finished.config, finished.split, samples)
    with run_network(finished.net, x, record=record, path=out) as recording:
        for name, hertz in recording.rates().items():
            typer.echo(f"{name}: {len(recording.spikes[name])} spikes, {hertz:.1f} Hz")
    typer.echo(f"Wrote {out}.")


@app.command()
def report(
    run: RunFolder,
    samples: Samples = 10,
    target: Targets = None,
    bits: Annotated[int | None, typer.Option(min=1, max=8, help="Quantise first to weights of this many bits.")] = None,
) -> None:
    """Plot raster, traces and learning curve, estimate the energy, place on a chip, and write report.html."""
    from neurosim.cli import products, runs

    finished = runs.open_run(run)
    energy = products.write_report_of(finished, samples, tuple(target or ()), bits=bits)
    typer.echo(energy.table())
    typer.echo(f"Wrote {run / 'report.html'}.")


@app.command()
def place(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or a .nir or .net file.", show_default=False)],
    target: Annotated[str, typer.Option(help="Chip, by name or TOML file.")] = "loihi2",
    weight_bits: Annotated[
        int | None, typer.Option(min=1, help="Bits of a stored weight; the chip's, or 8, if omitted.")
    ] = None,
    chips: Annotated[int, typer.Option(min=1, help="Number of chips available.")] = 1,
    storage: Annotated[str, typer.Option(help="auto, dense, sparse or shared.")] = "auto",
    dt: Annotated[float | None, typer.Option(help="Length of a step, s; needed for a .nir file.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Number of layers to read of a .net file.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the chip to this file (png, svg, pdf).")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the placement to this file.")] = None,
) -> None:
    """Place a network on the cores of a chip: cores used, the binding limit, what would make it fit."""
    from neurosim.cli import deploy

    net = deploy.network_of(source, dt, layers)
    placed = deploy.place(net, target, weight_bits=weight_bits, chips=chips, storage=storage, picture=picture, to=json)
    typer.echo(placed.table())
    for path in (picture, json):
        if path is not None:
            typer.echo(f"Wrote {path}.")
    if not placed.fits:
        raise typer.Exit(1)


@app.command()
def quantise(
    run: RunFolder,
    bits: Annotated[
        list[int] | None, typer.Option(min=1, max=8, help="Bits of a weight; may be repeated. 8, 6 and 4 if omitted.")
    ] = None,
    samples: Samples = 200,
) -> None:
    """Quantise a trained run to Loihi's integers and report the accuracy against the bits of its weights."""
    from neurosim.cli import deploy, runs

    typer.echo(deploy.quantise(runs.open_run(run), tuple(bits or deploy.BITS), samples).text)


@app.command()
def export(
    run: RunFolder,
    to: Annotated[str, typer.Option(help="lava, lava-script, nir or netx (lava-dl's .net).")] = "lava",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File, or folder of a script; in the run if omitted: lava.npz, lava/, network.nir, network.net."
        ),
    ] = None,
    check: Annotated[bool, typer.Option(help="Run or read back what was written and compare every spike.")] = True,
    bits: Bits = 8,
    samples: Samples = 10,
    timeout: Timeout = 300.0,
) -> None:
    """Export a trained run to Lava, NIR or netx, and check it spike for spike. For netx it is quantised first."""
    from neurosim.cli import deploy, runs

    _report(*deploy.export(runs.open_run(run), to, out, check, samples, bits, timeout))


@app.command()
def verify(
    run: RunFolder,
    against: Annotated[str, typer.Option(help="lava, nir or integer.")] = "lava",
    bits: Annotated[
        int | None,
        typer.Option(
            min=1, max=8, help="Quantise first to weights of this many bits (lava: fixed point; integer: 8 if omitted)."
        ),
    ] = None,
    samples: Samples = 20,
    timeout: Timeout = 300.0,
) -> None:
    """Compare a trained run with a Lava run, with a NIR file read back, or with itself quantised to integers."""
    from neurosim.cli import deploy, runs

    _report(deploy.verify(runs.open_run(run), against, samples, bits, timeout))


def _report(*outcomes: Outcome) -> None:
    """Print the outcomes; exit code 1 where two sides differ that must agree."""
    for outcome in outcomes:
        typer.echo(outcome.text)
    if not all(outcome.good for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All if omitted.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the results to this file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with N-MNIST recordings, for conv-step.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot the result of crossover to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, to see that everything runs.")] = False,
) -> None:
    """Time neurosim against other libraries; needs a source checkout."""
    from neurosim.cli.benchmarks import run

    raise typer.Exit(run(names or [], json, data, plot, quick))


@app.command()
def doctor() -> None:
    """Report what is installed, which kernels run, and how to get what is missing."""
    from neurosim.cli.health import findings

    healthy = True
    for good, finding, remedy in findings():
        healthy &= good
        typer.echo(
            f"{'ok  ' if good and not remedy else '--  ' if good else 'BAD '} {finding}"
            + (f"\n       do: {remedy}" if remedy else "")
        )
    if not healthy:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an expected error is one line on standard error and exit code 2."""
    try:
        app()
    except NeurosimError as error:
        typer.echo(f"neurosim: {error}", err=True)
        raise SystemExit(2) from None
