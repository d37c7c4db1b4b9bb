"""Builds the sdist and the wheel, and drives with each as a stranger would: ``python tests/package/run.py``.

Each is installed in a fresh environment outside of this folder, the wheel with the lowest versions that pyproject.toml
allows, the sdist with the newest. From an empty folder, with the environment read-only, as another user without a
network (where this user may become one), ``hoodcam drive`` drives. Needs uv on the path.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_BYTES = 100_000_000  # what the usual registry takes without asking
NOBODY = 65534
PYTHON = "/usr/bin/python3.11" if Path("/usr/bin/python3.11").exists() else "3.11"
GAME_ELSEWHERE = "supertuxkart"  # its weights are fetched


def run(*command: object, **further: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False, **further)  # type: ignore[call-overload, no-any-return]


def must(*command: object, **further: object) -> str:
    done = run(*command, **further)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(what: str, holds: object, shown: object = "") -> None:
    sys.stdout.write(f"  {'ok' if holds else 'FAILED'}  {what}\n")
    if not holds:
        sys.exit(f"{what}: {shown}")


def build(folder: Path) -> tuple[Path, Path]:
    """Return the wheel and the sdist; the wheel is built from the sdist, so nothing is missing there."""
    must("uv", "build", "--quiet", "--out-dir", folder, REPOSITORY)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    for path in (wheel, sdist):
        size = path.stat().st_size
        expect(f"{path.name} has {size / 1e6:.1f} MB, less than {MOST_BYTES / 1e6:.0f}", size < MOST_BYTES)
    return wheel, sdist


def install(package: Path, environment: Path, resolution: str, python: str) -> None:
    """Install a package; first what it needs, because only what is asked for by name is resolved to its lowest."""
    must("uv", "venv", "--quiet", "--python", python, environment)
    pip = ("uv", "pip", "install", "--quiet", "--python", environment / "bin" / "python")
    must(*pip, "--resolution", resolution, "--requirements", REPOSITORY / "pyproject.toml")
    must(*pip, "--no-deps", "--reinstall-package", "hoodcam", package)


def stranger(folder: Path) -> list[str]:
    """Return what a command is preceded by to run as another user and without a network; nothing if that is denied."""
    if os.geteuid() or shutil.which("setpriv") is None:
        return []
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    alone = ["unshare", "--net"]
    if run(*alone, "true").returncode == 0:
        words = [*alone, *words]
    os.chown(folder, NOBODY, NOBODY)
    return words


def drive(environment: Path, folder: Path) -> None:
    """Drive from an empty folder, with an environment that may not be written."""
    home = folder / "home"
    home.mkdir(parents=True)
    home.chmod(0o777)
    words = stranger(home)
    clean = {"PATH": f"{environment / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    must("chmod", "-R", "a-w", environment)
    how = {"cwd": home, "env": clean}
    who = "another user" if words else "this user"
    network = ", without a network" if "unshare" in words else ""
    program = (*words, environment / "bin" / "hoodcam")

    done = run(*program, "drive", "--seconds", "8", "--json", **how)
    report = json.loads(done.stdout) if done.returncode == 0 else {}
    lap = report.get("laps", [{}])[0]
    decided, late = lap.get("predictions", 0), lap.get("stale_ticks", 0)  # late ones too: this machine may be busy
    expect(f"hoodcam drive drives, as {who}{network}", decided + late and not done.returncode, done)
    sys.stdout.write(f"      {decided} decisions by {report['engine']}, {late} more too late\n")
    done = run(*program, "drive", "--game", GAME_ELSEWHERE, "--dry-run", "--window", "x", **how)
    expect("an error is one line", done.returncode == 1 and len(done.stderr.splitlines()) == 1, done)
    done = run(*program, "weights", "list", **how)
    expect("other weights are named", f"`hoodcam weights get {GAME_ELSEWHERE}`" in done.stdout, done)
    done = run(*program, "weights", "get", GAME_ELSEWHERE, "--address", "http://127.0.0.1:9/", **how)
    expect(
        "what cannot be fetched is one line", done.returncode == 1 and "cannot be fetched" in done.stderr.strip(), done
    )
    done = run(*program, "--help", **how)
    expect("help says hoodcam", "usage: hoodcam" in done.stdout and "python -m agent" not in done.stdout, done)
    must("chmod", "-R", "u+w", environment)


def main() -> int:
    """Run it all; the exit code is 0 if everything holds."""
    parser = argparse.ArgumentParser(description="Builds the sdist and the wheel, and drives with each.")
    parser.add_argument("--python", default=PYTHON, help="Python, which other users may run (%(default)s)")
    parser.add_argument("--only", choices=("lowest-direct", "highest"), help="only one of the two")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        wheel, sdist = build(place / "dist")
        for package, resolution in ((wheel, "lowest-direct"), (sdist, "highest")):
            if options.only in (None, resolution):
                sys.stdout.write(f"{package.name} with the versions {resolution}\n")
                environment = place / resolution
                install(package, environment, resolution, options.python)
                drive(environment, place / f"empty-{resolution}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
