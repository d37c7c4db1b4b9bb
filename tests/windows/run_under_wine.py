"""Runs Windows' own Python 3.11 under Wine, in the current folder, with what provision.sh made. ::

    python tests/windows/run_under_wine.py [--timeout SECONDS] python ARGUMENTS...

    python tests/windows/run_under_wine.py python -m agent doctor
    python tests/windows/run_under_wine.py python -m pytest tests/windows

Output and exit code are Python's, except 124: it took too long, and 125: something is missing. Where there is no
display, it runs on a desktop without a screen. Standard input is empty unless ``--input FILE`` is given.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PROVISION = HERE / "provision.sh"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hoodcam" / "wine"
# A batch file is read in a code page of its own; variables are not.
_BATCH = b'@echo off\r\n%RUN_WORDS% >"%RUN_OUTPUT%" 2>&1 <"%RUN_INPUT%"\r\nexit /b %errorlevel%\r\n'

STAND_IN = "VIGEM_STAND_IN"  # the variable that names a folder with vgamepad and a stand-in for its driver
TIMED_OUT, FAILED = 124, 125  # as timeout(1) has them


def windows_path(path: Path) -> str:
    """Return a path of this machine as Windows programs see it."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


def missing(cache: Path = CACHE) -> str:
    """Say what is missing and how to get it; empty if nothing is."""
    lacks = [program for program in ("wine", "Xvfb", "x86_64-w64-mingw32-gcc") if shutil.which(program) is None]
    if not (cache / "version").exists():
        lacks.append(f"Windows' Python in {cache}")
    return f"no {' and no '.join(lacks)}, expected what `{PROVISION}` provides: run it." if lacks else ""


def write_metadata(folder: Path) -> None:
    """Write what an editable installation leaves: the project's name, version and entry points."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    folder = folder / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = []
    for group, entries in {"console_scripts": project["scripts"], **project["entry-points"]}.items():
        lines += [f"[{group}]", *(f"{each} = {what}" for each, what in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_stand_in(cache: Path, folder: Path) -> Path:
    """Copy vgamepad as it is into a folder and put the stand-in of vigem_stand_in.c in its DLL's place."""
    shutil.copytree(cache / "site" / "vgamepad", folder / "vgamepad", ignore=shutil.ignore_patterns("install"))
    dll = folder / "vgamepad" / "win" / "vigem" / "client" / "x64" / "ViGEmClient.dll"
    source = HERE / "vigem_stand_in.c"
    subprocess.run(["x86_64-w64-mingw32-gcc", "-shared", "-O1", "-o", dll, source], check=True)
    return folder


def environment_of(cache: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Windows' programs: this machine's, without what is meant for its own Python."""
    return {
        **{
            name: value for name, value in base.items() if not name.startswith(("PYTHON", "WINE", "VIRTUAL_ENV", "LC_"))
        },
        "LANG": "C.UTF-8",
        "WINEPREFIX": str(cache / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",  # .NET and HTML, which nothing here needs and Wine would ask for
        "PYTHONHOME": windows_path(cache / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(
    arguments: list[str],
    timeout_s: float,
    cache: Path = CACHE,
    base: Mapping[str, str] = os.environ,
    stdin: Path | None = None,
) -> int:
    """Run Windows' Python in the current folder, pass its output on as it comes, and return its exit code.

    Wine gives a program that is started from here no valid standard streams. So its own command interpreter starts it,
    with files for streams.
    """
    with tempfile.TemporaryDirectory() as folder:
        batch, output = Path(folder, "run.bat"), Path(folder, "output")
        output.touch()
        batch.write_bytes(_BATCH)
        write_metadata(Path(folder))
        environment = {
            **environment_of(cache, base),
            "PYTHONPATH": ";".join(map(windows_path, (cache / "site", REPOSITORY, Path(folder)))),
            STAND_IN: windows_path(make_stand_in(cache, Path(folder, "stand_in"))),
            "RUN_WORDS": " ".join(map(_quoted, [windows_path(cache / "python" / "python.exe"), *arguments])),
            "RUN_INPUT": "NUL" if stdin is None else windows_path(stdin),
            "RUN_OUTPUT": windows_path(output),
        }
        process = subprocess.Popen(
            ["wine", "cmd", "/c", windows_path(batch)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up_s = time.monotonic() + timeout_s
        try:
            with output.open("rb") as written:
                while process.poll() is None and time.monotonic() < give_up_s:
                    _pass_on(written.read())
                    time.sleep(0.05)
                _pass_on(written.read())
        finally:
            if process.poll() is None:  # Windows' programs are no children of cmd's: all of this Windows ends
                subprocess.run(["wineserver", "--kill"], env=environment, check=False)
                process.wait()
                code = TIMED_OUT
                sys.stderr.write(f"run_under_wine.py: stopped after {timeout_s:g} s; give a longer --timeout.\n")
            else:
                code = process.returncode
    return code


def _quoted(word: str) -> str:
    r"""Return a word as C programs read it, always in quotes: the command interpreter keeps its hands off it there."""
    return '"' + re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', r"\""), word) + '"'


def _pass_on(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.flush()


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Runs Windows' own Python under Wine.")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder that provision.sh filled (%(default)s)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds (%(default)g)")
    parser.add_argument("--input", type=Path, help="file for its standard input (default: none)")
    parser.add_argument("python", choices=["python"], help="what runs")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="its arguments")
    options = parser.parse_args()
    lack = missing(options.cache)
    if lack:
        sys.stderr.write(f"run_under_wine.py: {lack}\n")
        return FAILED
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without ending Wine
    if os.environ.get("DISPLAY"):
        return run(options.arguments, options.timeout, options.cache, stdin=options.input)
    sys.path.insert(0, str(REPOSITORY))
    from agent.games.virtual_desktop import virtual_desktop

    with virtual_desktop() as desktop:
        return run(options.arguments, options.timeout, options.cache, desktop, options.input)


if __name__ == "__main__":
    sys.exit(main())
