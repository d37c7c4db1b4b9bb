"""Weights that are fetched: from a server of the test's own, cut off, damaged, and kept where nobody may write."""

import hashlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from small_model import write_model

from agent.cli import main
from agent.contract.errors import WeightsError
from agent.contract.spec import SPEC_FILE, WEIGHTS_FILE, ModelSpec
from agent.sessions import published
from agent.sessions.published import PUBLISHED, fetch_weights, find_weights, known_weights
from agent.settings.weights import WeightsSettings

ROOT = Path(__file__).parents[2]


class Server(ThreadingHTTPServer):
    """Serves a folder; ``requests`` is what was asked for and from which byte on, ``cut`` where an answer ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.requests: list[tuple[str, int]] = []
        self.cut: dict[str, int] = {}
        self.resumes = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        name = path.name
        begin = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        self.server.requests.append((name, begin))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        begin = begin if self.server.resumes else 0
        if begin >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin : self.server.cut.pop(name, len(content))])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with one model, "road", which is published; nothing of it is here yet."""
    (tmp_path / "served" / "road").mkdir(parents=True)
    model = write_model(tmp_path / "served" / "road")
    monkeypatch.setitem(PUBLISHED, "road", hashlib.sha256((model / SPEC_FILE).read_bytes()).hexdigest())
    monkeypatch.setattr(published, "fetched_folder", lambda: tmp_path / "user" / "weights")
    monkeypatch.chdir(tmp_path)
    server = Server(tmp_path / "served")
    monkeypatch.setenv(published.ADDRESS_VARIABLE, server.address + "/")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_weights_are_fetched_once_checked_and_then_found(server: Server) -> None:
    assert find_weights("road") is None
    shown: dict[str, tuple[int, int | None]] = {}
    folder = fetch_weights(WeightsSettings(name="road"), lambda name, here, all: shown.update({name: (here, all)}))
    spec = ModelSpec.load(folder)
    spec.verify_files(folder, *spec.sha256)
    assert find_weights("road") == folder
    assert shown[WEIGHTS_FILE] == ((folder / WEIGHTS_FILE).stat().st_size,) * 2
    asked = len(server.requests)
    assert fetch_weights(WeightsSettings(name="road")) == folder
    assert len(server.requests) == asked
    assert "road" in [each.name for each in known_weights() if each.folder == folder]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_download_that_was_cut_off_is_continued(server: Server, resumes: bool) -> None:
    server.cut[WEIGHTS_FILE] = 100
    server.resumes = resumes
    with pytest.raises(WeightsError, match=r"cannot be fetched .* Start again: what has arrived is kept"):
        fetch_weights(WeightsSettings(name="road"))
    assert find_weights("road") is None
    folder = fetch_weights(WeightsSettings(name="road"))
    assert (WEIGHTS_FILE, 100) in server.requests
    assert server.requests.count((SPEC_FILE, 0)) == 1
    ModelSpec.load(folder).verify_files(folder, WEIGHTS_FILE)


@pytest.mark.parametrize("name", [SPEC_FILE, WEIGHTS_FILE])
def test_what_was_not_published_is_refused_and_not_kept(server: Server, tmp_path: Path, name: str) -> None:
    file = tmp_path / "served" / "road" / name
    right = file.read_bytes()
    file.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with pytest.raises(WeightsError, match=rf"{name} has SHA-256 .* it is not what was published"):
        fetch_weights(WeightsSettings(name="road"))
    assert find_weights("road") is None
    file.write_bytes(right)
    fetch_weights(WeightsSettings(name="road"))


def test_no_server_no_such_model_and_no_address_are_one_line_each(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(*words: str) -> str:
        assert main(["weights", "get", *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "no weights for 'moon' are published, expected one of road, supertuxkart" in complaint("moon")
    assert "Not Found" in complaint("road", "--address", server.address + "/elsewhere")
    server.shutdown()
    server.server_close()
    assert "cannot be fetched" in complaint("road")
    monkeypatch.setenv(published.ADDRESS_VARIABLE, "")
    assert "expected an address: pass --address, or set HOODCAM_WEIGHTS_ADDRESS" in complaint("road")
    (tmp_path / "file").write_text("")
    assert "cannot be kept in" in complaint("road", "--address", server.address, "--out", str(tmp_path / "file"))


def test_the_command_lists_and_fetches(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    assert "`python -m agent weights get road` fetches them" in capsys.readouterr().out
    assert main(["weights", "get", "road"]) == 0
    assert main(["weights", "list"]) == 0
    assert str(published.fetched_folder() / "road") in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_checksums_of_the_published_are_those_of_the_checkout(name: str) -> None:
    folder = ROOT / "model_weights" / name
    assert PUBLISHED[name] == hashlib.sha256((folder / SPEC_FILE).read_bytes()).hexdigest()
    ModelSpec.load(folder).verify_files(folder, *ModelSpec.load(folder).sha256)
