"""``neurosim data``: list, describe, fetch, convert and show data sets and files of events."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurosim.cli import options
from neurosim.cli.options import Json
from neurosim.cli.output import note, write

if TYPE_CHECKING:
    from neurosim.datasets import Unverified

data_app = typer.Typer(
    help="Data sets and files of events: list, describe, fetch, convert, show.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Name = Annotated[str, typer.Argument(help="A data set, by name or TOML card.", autocompletion=options.complete_dataset)]
Root = Annotated[
    Path | None, typer.Option(help="The data root; the environment variable NEUROSIM_DATA if omitted.", file_okay=False)
]
Shape = Annotated[
    str | None, typer.Option(help="Shape of the sensor where the file does not state it, such as 2,34,34 or 700.")
]
Kind = Annotated[str | None, typer.Option(help="Format of the file, where its beginning and name do not tell it.")]
Repair = Annotated[
    list[str] | None, typer.Option(help="sort, outside or negative: mend instead of refuse; may be repeated.")
]


@data_app.command("list")
def list_(json: Json = None) -> None:
    """List the data sets."""
    from neurosim.cli import data

    result = data.listed()
    write(result.text, result.content, json)


@data_app.command()
def info(name: Name, json: Json = None) -> None:
    """Describe a data set: source, licence, citation, shape, split, files and their digests."""
    from neurosim.cli import data

    result = data.described(name)
    write(result.text, result.content, json)


@data_app.command()
def fetch(
    name: Name,
    root: Root = None,
    file: Annotated[
        list[Path] | None, typer.Option(help="A file that was fetched by hand; may be repeated.", exists=False)
    ] = None,
    accept_unverified: Annotated[
        bool, typer.Option("--accept-unverified", help="Use files whose sha256 no one states, without asking.")
    ] = False,
    json: Json = None,
) -> None:
    """Download the files of a data set, check and unpack them; an interrupted download goes on."""
    from neurosim.cli import data

    terminal = sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(found: Unverified) -> bool:
        if not accept_unverified and not terminal:
            return False
        md5 = " It has the md5 that its publisher states." if found.md5 else ""
        note(f"{found.name}: {found.size:,} bytes, sha256 {found.sha256}; no sha256 is known.{md5}", json)
        return accept_unverified or typer.confirm("Use it?", err=True)

    result = data.fetched(name, root, file or [], confirm, progress=sys.stderr.isatty())
    write(result.text, result.content, json)


@data_app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A file of events.", show_default=False)],
    target: Annotated[
        Path,
        typer.Argument(help="The file to write: .bin, .bs1, .bs2, .h5, .nir or, with --to, .raw.", show_default=False),
    ],
    shape: Shape = None,
    kind: Kind = None,
    to: Annotated[
        str | None, typer.Option(help="evt2, evt3, bin, bs1, bs2, hdf5 or nirdata; by the end of the name if omitted.")
    ] = None,
    repair: Repair = None,
    json: Json = None,
) -> None:
    """Convert a file of events, and compare what is read back."""
    from neurosim.cli import data

    result = data.converted(source, target, shape, kind, to, repair or [])
    write(result.text, result.content, json)


@data_app.command()
def show(
    source: Annotated[str, typer.Argument(help="A file of events, or a data set by name or card.", show_default=False)],
    out: Annotated[Path, typer.Option(help="A picture (.png), or an animation of events (.gif).")],
    root: Root = None,
    part: Annotated[str, typer.Option(help="Part of the data set.")] = "train",
    sample: Annotated[int, typer.Option(min=0, help="Which sample.")] = 0,
    frames: Annotated[int, typer.Option(min=1, max=1000, help="Pictures of an animation.")] = 40,
    shape: Shape = None,
    kind: Kind = None,
    json: Json = None,
) -> None:
    """Draw a sample of a data set, or a file of events."""
    from neurosim.cli import data

    result = data.shown(source, out, root, part, sample, frames, shape, kind)
    write(result.text, result.content, json)
