"""A desktop without a screen: who may look at it, and when it ends."""

import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.games import virtual_desktop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="X servers are for Unix")


def test_the_key_to_a_desktop_is_this_users_alone_and_new_every_time(tmp_path: Path) -> None:
    keys = []
    for path in (tmp_path / "first", tmp_path / "second"):
        virtual_desktop._write_key(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        keys.append(path.read_bytes())
    assert keys[0][:-16] == keys[1][:-16]
    assert keys[0][-16:] != keys[1][-16:]
    assert len(set(keys[0][-16:])) > 4


def test_the_key_is_laid_out_as_x_programs_read_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    virtual_desktop._write_key(path)
    family, rest, texts = struct.unpack(">H", path.read_bytes()[:2])[0], path.read_bytes()[2:], []
    while rest:
        (length,) = struct.unpack(">H", rest[:2])
        texts.append(rest[2 : 2 + length])
        rest = rest[2 + length :]
    assert family == 256
    assert texts[0] == os.uname().nodename.encode()
    assert texts[1:3] == [b"", b"MIT-MAGIC-COOKIE-1"]
    assert [len(text) for text in texts[3:]] == [16]


def test_a_program_that_joins_a_desktop_leaves_it_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.delenv("XAUTHORITY", raising=False)
    with virtual_desktop.joined({"DISPLAY": ":9", "XAUTHORITY": "/key", "HOME": "/elsewhere"}):
        assert (os.environ["DISPLAY"], os.environ["XAUTHORITY"]) == (":9", "/key")
        assert os.environ.get("HOME") != "/elsewhere"
    assert os.environ["DISPLAY"] == ":7"
    assert "XAUTHORITY" not in os.environ


@pytest.mark.skipif(shutil.which("Xvfb") is None or shutil.which("openbox") is None, reason="needs xvfb and openbox")
def test_a_desktop_ends_even_if_its_starter_is_killed() -> None:
    code = (
        "import time\nfrom agent.games.virtual_desktop import virtual_desktop\n"
        "with virtual_desktop(64, 64) as environment:\n"
        "    print(environment['DISPLAY'], flush=True)\n"
        "    time.sleep(300)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    display = starter.stdout.readline().strip()
    desktop = psutil.Process(starter.pid).children(recursive=True)
    assert {"Xvfb", "openbox"} <= {process.name() for process in desktop}
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    _, alive = psutil.wait_procs(desktop, timeout=20)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert not Path(f"/tmp/.X11-unix/X{display[1:]}").exists(), "it was asked to end before it was killed"
