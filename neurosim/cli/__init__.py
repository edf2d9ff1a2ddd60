"""The command line: train, evaluate, simulate, report, place, quantise, export, verify; see ``neurosim --help``."""

from __future__ import annotations

import re
import sys
import traceback
import warnings

import typer

from neurosim.cli.commands import app
from neurosim.errors import InputError, NeurosimError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line.

    The exit code is 0; 1 where a comparison found a difference or something does not fit; 2 for an error in what was
    given, with one line on standard error; 3 for an error of the program, with its traceback; 130 for an interrupt.
    """
    try:
        blank = next((word for word in sys.argv[1:] if re.fullmatch(r"|--[a-z-]+=", word)), None)
        if blank is not None:
            raise InputError(f"an argument is empty: {blank or repr(blank)}. Give a value.")
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app(standalone_mode=False)
    except NeurosimError as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort) as error:
        _fail(f"interrupted {error}".strip() if str(error) else "interrupted.", 130)
    except Exception as error:
        # A wrong option or argument; typer does not export the base of these errors.
        message = getattr(error, "format_message", None)
        if message is None:
            traceback.print_exc()
            raise SystemExit(3) from None
        _fail(message(), 2)
    raise SystemExit(code if isinstance(code, int) else 0)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without the place in the program it comes from."""
    typer.echo(f"neurosim: {message}", err=True)


def _fail(message: str, code: int) -> None:
    typer.echo(f"neurosim: {message}", err=True)
    raise SystemExit(code) from None
