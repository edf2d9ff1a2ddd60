"""Downloads from a server on this machine, which drops connections, ignores ranges and changes its files."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from neurosim.errors import FileError
from neurosim.files.downloads import NeedsBrowser, download

CONTENT = bytes(range(256)) * 400


@dataclass
class Host:
    """What the server does, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    drop_after: int | None = None  # bytes of an answer
    drops: int = 0  # answers that are dropped
    ranges: bool = True
    status: int | None = None
    kind: str = "application/octet-stream"
    redirect: str | None = None
    length: bool = True
    chunked: bool = False
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def host() -> Iterator[Host]:
    state = Host()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.redirect:
                self.send_response(302)
                self.send_header("Location", state.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = state.files.get(self.path.partition("?")[0].lstrip("/"))
            if state.status or content is None:
                self.send_error(state.status or 404)
                return
            tag = hashlib.sha256(content).hexdigest()[:8]
            start = 0
            if wanted and state.ranges and self.headers.get("If-Range") == f'"{tag}"':
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:]
            self.send_header("Content-Type", state.kind)
            self.send_header("ETag", f'"{tag}"')
            if state.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif state.length:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.close_connection = True
            self.end_headers()
            if state.drop_after is not None and state.drops:
                state.drops -= 1
                body = body[: state.drop_after]
                self.close_connection = True
                self.wfile.write(f"{len(content):x}\r\n".encode() + body if state.chunked else body)
                return
            self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n" if state.chunked else body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/"
    state.files["a.bin"] = CONTENT
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def get(host: Host, path: Path, **options: object) -> bytes:
    download(f"{host.url}a.bin", path, pause=0, **options)  # type: ignore[arg-type]
    return path.read_bytes()


def test_a_file_comes_whole_and_its_progress_is_told(tmp_path: Path, host: Host) -> None:
    told = list[tuple[int, int | None]]()
    assert get(host, tmp_path / "a", progress=lambda done, total: told.append((done, total))) == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT)) and [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_dropped_connection_goes_on_where_it_ended(tmp_path: Path, host: Host, chunked: bool) -> None:
    host.drop_after, host.drops, host.chunked = 30_000, 3, chunked
    assert get(host, tmp_path / "a") == CONTENT
    assert host.asked == [None, *(f"bytes={30_000 * k}-" for k in (1, 2, 3))]


def test_an_interrupted_download_goes_on_in_another_call(tmp_path: Path, host: Host) -> None:
    host.drop_after, host.drops = 1000, 1

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(host, tmp_path / "a", progress=stop)
    assert (tmp_path / "a").read_bytes() == CONTENT[:1000]
    assert get(host, tmp_path / "a") == CONTENT and host.asked == [None, "bytes=1000-"]


def test_a_host_without_ranges_is_asked_from_the_beginning(tmp_path: Path, host: Host) -> None:
    host.drop_after, host.drops, host.ranges = 50_000, 2, False
    assert get(host, tmp_path / "a") == CONTENT


def test_a_file_that_changed_meanwhile_is_taken_anew(tmp_path: Path, host: Host) -> None:
    host.drop_after, host.drops = 1000, 10
    with pytest.raises(KeyboardInterrupt):
        get(host, tmp_path / "a", progress=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    host.files["a.bin"] = b"other" * 20_000
    host.drops = 0
    assert get(host, tmp_path / "a") == b"other" * 20_000


def test_a_part_that_is_the_whole_file_is_complete(tmp_path: Path, host: Host) -> None:

    def stop(done: int, total: int | None) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(host, tmp_path / "a", progress=stop)
    assert get(host, tmp_path / "a") == CONTENT and host.asked[-1] == f"bytes={len(CONTENT)}-"


def test_a_host_that_gives_nothing_is_given_up_and_the_part_kept(tmp_path: Path, host: Host) -> None:
    host.drop_after, host.drops = 700, 1
    host.files["a.bin"] = CONTENT
    with pytest.raises(KeyboardInterrupt):
        get(host, tmp_path / "a", progress=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    host.drop_after, host.drops = 0, 100
    with pytest.raises(FileError, match=r"ended early\. 700 bytes are kept in .*run the same line again"):
        get(host, tmp_path / "a")
    host.drops = 0
    assert get(host, tmp_path / "a") == CONTENT


@pytest.mark.parametrize(("status", "message"), [(404, "answers 404"), (403, "answers 403"), (500, "answers 500")])
def test_a_host_that_refuses_is_quoted(tmp_path: Path, host: Host, status: int, message: str) -> None:
    host.status = status
    with pytest.raises(FileError, match=message):
        get(host, tmp_path / "a")


def test_no_host_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot download http://127\.0\.0\.1:1/a.*0 bytes are kept"):
        download("http://127.0.0.1:1/a", tmp_path / "a", pause=0)


def test_a_page_is_no_file(tmp_path: Path, host: Host) -> None:
    host.kind = "text/html; charset=utf-8"
    with pytest.raises(NeedsBrowser, match="answers with a page instead of a file"):
        get(host, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_other_addresses_are_not_opened(tmp_path: Path, host: Host) -> None:
    with pytest.raises(FileError, match="does not begin with http"):
        download("file:///etc/passwd", tmp_path / "a")
    host.redirect = "file:///etc/passwd"
    with pytest.raises(FileError, match=r"does not begin with http|answers 302"):
        get(host, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("length", [True, False])
def test_a_file_that_is_too_long_is_refused(tmp_path: Path, host: Host, length: bool) -> None:
    host.length = length
    with pytest.raises(FileError, match=r"1,000 (bytes|are allowed)"):
        get(host, tmp_path / "a", largest=1000)


def test_a_disk_that_is_too_small_is_named_before_anything_is_written(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(FileError, match=r"needs 102,400 bytes more, and 10 are free"):
        get(host, tmp_path / "a")
    assert not (tmp_path / "a").exists()
