"""What a command prints: text for people, or JSON for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from neurosim.files.atomic import json_text

STDOUT = Path("-")


def write(text: str, content: Any, json: Path | None) -> None:
    """Print the result of a command.

    Parameters
    ----------
    text : str
        For people.
    content : object
        The same in plain values.
    json : pathlib.Path or None
        Also write `content` to this file as JSON; ``-``: print it instead of the text.
    """
    if json == STDOUT:
        typer.echo(json_text(content), nl=False)
        return
    typer.echo(text)
    if json is not None:
        json_text(content, json)
        typer.echo(f"Wrote {json}.")


def note(text: str, json: Path | None) -> None:
    """Print a line about the progress of a command, unless its output is JSON."""
    if json != STDOUT:
        typer.echo(text)
