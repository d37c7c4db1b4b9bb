"""Whatever a program is started with: library names in the working folder, streams that are closed or full."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIST = [sys.executable, "-m", "agent", "faults", "--list"]


def run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a shell's line in a folder, with the program's arguments as ``$@``."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        ["sh", "-c", command, "sh", *LIST], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")


def test_files_of_a_librarys_name_in_the_working_folder_take_nobodys_place(tmp_path: Path) -> None:
    for name in ("random", "signal", "numpy", "tempfile"):
        (tmp_path / f"{name}.py").write_text('raise SystemExit("taken for the library")')
    done = run('"$@"', tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("black ")


def test_a_working_folder_that_was_deleted_is_no_fault(tmp_path: Path) -> None:
    done = run('mkdir gone && cd gone && rmdir ../gone && "$@"', tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("black ")


def test_an_output_that_is_closed_is_no_fault_and_no_file_gets_its_number(tmp_path: Path) -> None:
    done = run('"$@" >&- <&-', tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    look = "import os, sys; from agent.system.start import put_start_right; put_start_right('x/y'); sys.stderr.write("
    look += "str(os.open('/dev/null', os.O_RDONLY)))"
    command = f'{sys.executable} -c "{look}" >&- <&-'
    assert int(run(command, tmp_path).stderr) > 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux' full device")
def test_an_output_on_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    done = run('"$@" > /dev/full', tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "No space left on device" in done.stderr
