"""Download a file over HTTP: what is there already is kept after an interruption, and the rest is asked for."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from neurosim.errors import FileError

LARGEST = 2**37  # bytes of a file
_CHUNK = 2**18
_TIMEOUT = 30.0  # s without a byte
_ATTEMPTS = 5  # without a new byte
_PAGES = ("text/html", "application/xhtml+xml")
Progress = Callable[[int, int | None], None]


class NeedsBrowser(FileError):
    """The host answers with a page instead of the file, which a person has to go through."""


def download(
    url: str, path: Path, *, progress: Progress | None = None, largest: int = LARGEST, pause: float = 1.0
) -> None:
    """Download a file, or continue a download that was interrupted.

    The bytes are written to `path` itself. Beside it, ``path.json`` holds the address and the state of the file at the
    host (its ETag, or else its time of change); a part of another file is begun anew. When the connection is lost, the
    rest is asked for again, up to five times without a new byte.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    path : pathlib.Path
        Where the bytes are written; a name of its own, since a part may stay there.
    progress : callable, optional
        Called with the number of bytes that are there, and that of all, None where the host does not state it.
    largest : int
        Bytes that are taken at most.
    pause : float
        s before another attempt.

    Raises
    ------
    NeedsBrowser
        When the host answers with a page.
    FileError
        When the host refuses, does not answer, or sends more than `largest` or less than it states; the part that is
        there is kept for another attempt.
    """
    _check_address(url)
    attempts, before = 0, _size(path)
    while True:
        try:
            if _attempt(url, path, progress, largest):
                path.with_name(f"{path.name}.json").unlink(missing_ok=True)
                return
            problem = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise FileError(f"cannot download {url}: the host answers {error.code} {error.reason}.") from error
            problem = f"the host answers {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            problem = str(getattr(error, "reason", error) or type(error).__name__)
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"cannot write {path}: {error.strerror or error}. Free some space.") from error
        now = _size(path)
        attempts = 0 if now > before else attempts + 1
        before = now
        if attempts >= _ATTEMPTS:
            raise FileError(
                f"cannot download {url}: {problem}. {now:,} bytes are kept in {path}; run the same line again to go on."
            )
        time.sleep(pause)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise FileError(f"the address {url[:200]} does not begin with http:// or https://. It is not opened.")


def _attempt(url: str, path: Path, progress: Progress | None, largest: int) -> bool:
    """Ask for the bytes that are missing; return whether the file is complete."""
    state = _state(path, url)
    have = _size(path) if state else 0
    request = urllib.request.Request(url, headers={"User-Agent": "neurosim", "Accept-Encoding": "identity"})
    if have and state:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", state)
    opener = urllib.request.build_opener(_Redirects)
    try:
        answer = opener.open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        # Nothing is left of the range that was asked for: the part is the file, or the file has changed.
        if str(error.headers.get("Content-Range", "")).rpartition("/")[2] == str(have):
            return True
        path.unlink()
        return False
    with contextlib.closing(answer):
        if answer.headers.get_content_type() in _PAGES and not urlsplit(url).path.endswith((".html", ".htm")):
            raise NeedsBrowser(f"{url} answers with a page instead of a file.")
        part = answer.status == 206
        if part and not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
            raise FileError(f"cannot download {url}: the host sends another part than the one from byte {have:,}.")
        start = have if part else 0
        total = _total(answer, start)
        _check_room(url, path, (total or 0) - start, total, largest)
        _keep_state(path, url, answer.headers)
        with open(path, "ab" if part else "wb") as out:
            done = start
            for chunk in _chunks(answer):
                out.write(chunk)
                done += len(chunk)
                if done > largest:
                    raise FileError(f"{url} is longer than {largest:,} bytes; {path} is not used.")
                if progress is not None:
                    progress(done, total)
    return done == total if total is not None else True


def _total(answer: Any, start: int) -> int | None:
    """Return the bytes of the file, where the host states them."""
    length = answer.headers.get("Content-Length", "")
    stated = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(stated) if stated.isdigit() else start + int(length) if length.isdigit() else None


def _chunks(answer: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk: bytes = answer.read1(_CHUNK)
        except http.client.IncompleteRead as error:
            yield error.partial
            raise
        if not chunk:
            return
        yield chunk


def _check_room(url: str, path: Path, more: int, total: int | None, largest: int) -> None:
    if total is not None and total > largest:
        raise FileError(f"{url} is {total:,} bytes long; {largest:,} are allowed.")
    free = shutil.disk_usage(path.parent).free
    if more > free:
        raise FileError(f"{url} needs {more:,} bytes more, and {free:,} are free in {path.parent}. Free some space.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _state(path: Path, url: str) -> str:
    """Return the state of the file at the host that the part was taken from; empty where it is not known."""
    try:
        kept = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
        return str(kept["state"]) if kept["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _keep_state(path: Path, url: str, headers: Any) -> None:
    tag = headers.get("ETag", "")
    state = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    note = path.with_name(f"{path.name}.json")
    # Without a state nothing tells whether a part is of the same file, so that a download begins anew.
    temporary = note.with_name(f"{note.name}.new")
    temporary.write_text(json.dumps({"url": url, "state": state}), encoding="utf-8")
    os.replace(temporary, note)
