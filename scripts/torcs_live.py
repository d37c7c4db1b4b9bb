"""Records and drives TORCS, unmodified, in its window, on a desktop that nobody sees.

    python scripts/torcs_live.py record --seconds 420 --out episodes/torcs
    python -m training fit --game torcs --data episodes/torcs --out runs/torcs ...
    python scripts/torcs_live.py drive --weights runs/torcs/best --video torcs.mp4

`record` has a program drive that sees the window's pictures and presses keys, as a person would, while `python -m agent
record` looks on. Laps are read from the game's own results, for the report alone. Linux, with
`apt install torcs xvfb openbox`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.capture.screen import ScreenSource  # noqa: E402
from agent.contract.controls import Controls  # noqa: E402
from agent.contract.errors import AgentError, BlindError, GameError  # noqa: E402
from agent.contract.observation import Pixels  # noqa: E402
from agent.controllers.keyboard import Keyboard  # noqa: E402
from agent.games.registry import find_game  # noqa: E402
from agent.games.torcs_window import HEIGHT_PX, WIDTH_PX, Session, session_in_window  # noqa: E402
from agent.virtual_desktop import virtual_desktop  # noqa: E402

_PERIOD_S = 0.05


def main() -> int:
    """Return 0, or 1 if something failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--track", default="e-track-5", help="as the game names its folder (default: e-track-5)")
    common.add_argument("--laps", type=int, default=20, help="after which the session ends (default: 20)")
    common.add_argument("--seconds", type=float, default=420.0, metavar="T", help="end after (default: 420)")
    common.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    record = commands.add_parser("record", parents=[common], help="a program drives by keys, and is recorded")
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    record.set_defaults(run=_record)
    drive = commands.add_parser("drive", parents=[common], help="a network drives")
    drive.add_argument("--weights", type=Path, required=True, metavar="DIR", help="model folder")
    drive.add_argument("--engine", default="auto", help="what runs the network (default: auto)")
    drive.add_argument("--video", type=Path, metavar="FILE", help="film the drive (.mp4)")
    drive.set_defaults(run=_drive)
    arguments = parser.parse_args()
    try:
        report = _session(arguments)
    except AgentError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    laps = ", ".join(f"{seconds:.1f}" for seconds in report["laps_s"]) or "none"
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if arguments.json else f"laps, s: {laps}\n")
    return 0


def _session(arguments: argparse.Namespace) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="torcs-", ignore_cleanup_errors=True) as home,
        virtual_desktop(640, 400) as environment,
    ):
        os.environ["DISPLAY"] = environment["DISPLAY"]
        with session_in_window(arguments.track, environment, Path(home), arguments.laps) as session:
            output = arguments.run(arguments, session)
        return {"track": arguments.track, "laps_s": session.laps_s, "drive": json.loads(output) if output else None}


def _record(arguments: argparse.Namespace, session: Session) -> str:
    options = ["record", "--input", "keyboard", "--out", str(arguments.out)]
    _beside(options, arguments.seconds, lambda ends: _play(lambda: ends() or session.process.poll() is not None))
    return ""


def _drive(arguments: argparse.Namespace, session: Session) -> str:
    options = ["drive", "--weights", str(arguments.weights), "--engine", arguments.engine, "--no-takeover", "--json"]
    options += ["--video", str(arguments.video)] if arguments.video else []

    def watch(ends: Callable[[], bool]) -> None:
        while not ends() and session.process.poll() is None and not session.laps_s:
            time.sleep(0.5)

    return _beside(options, arguments.seconds, watch)


def _beside(options: list[str], seconds: float, work: Callable[[Callable[[], bool]], None]) -> str:
    """Run a command of the agent beside some work, which is to end when told or the command has; return its output."""
    command = [sys.executable, "-m", "agent", *options, "--game", "torcs", "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        work(lambda: process.poll() is not None)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    if process.returncode not in (0, 130, -signal.SIGINT):
        raise GameError(f"`{' '.join(command[1:4])}` failed ({process.returncode}). Mend what the line above says.")
    return output


# A person in a few lines: it looks for the road in the picture and steers for its middle. In pixels of a window of
# 320 x 180; found by trial on e-track-5.
_ROWS = range(140, 70, -1)  # from the bonnet to the horizon, which is at 68
_WIDTH = 4.6  # of the road, in pixels a row below the horizon
_CAR = (slice(78, 100), slice(145, 176))
_THROTTLE = 0.36  # about 45 km/h
_FAR, _NEAR, _DAMPING = 1.2, 1.2, 4.0
_STILL = 0.4  # grey levels that a standing car's picture changes by
_REVERSE_S = 2.5
_BRAKE_FIRST_S = 1.5
_PATIENCE_S = 6.0


def _play(ends: Callable[[], bool]) -> None:
    profile = find_game("torcs").profile
    assert profile.capture is not None, "the profile of a game in a window"
    reverse_until_s = time.monotonic() + _BRAKE_FIRST_S
    last, far_before, change = None, 0.0, 5.0
    with ScreenSource(profile.capture, frozen_s=float("inf")) as source, Keyboard(profile.keys) as keyboard:
        while not ends():
            next_s = time.monotonic() + _PERIOD_S
            try:
                picture = source.read().pixels
            except BlindError:
                continue
            far, near = _look(picture)
            steering = _FAR * far + _NEAR * near + _DAMPING * (far - far_before)
            far_before = far
            scene = picture[100:138:5, ::10, :3].astype(np.float32)
            change = 0.9 * change + 0.1 * (5.0 if last is None else float(np.abs(scene - last).mean()))
            last = scene
            now_s = time.monotonic()
            if change < _STILL and now_s > reverse_until_s + _PATIENCE_S:
                reverse_until_s = now_s + _REVERSE_S
            if now_s < reverse_until_s:  # at the beginning too: no output that never varies can be learnt
                keyboard.send(Controls(0.0, 0.0, 1.0))
            else:
                keyboard.send(Controls(steering, _THROTTLE * min(1.0, max(0.5, 1.2 - abs(far))), 0.0).clip())
            time.sleep(max(0.0, next_s - time.monotonic()))


def _look(picture: Pixels) -> tuple[float, float]:
    """Return how far the middle of the road is aside of the picture's, far ahead and near; from -1 to 1."""
    assert picture.shape[:2] == (HEIGHT_PX, WIDTH_PX), picture.shape
    _, green, red = np.moveaxis(picture[..., :3].astype(np.int16), -1, 0)
    road: npt.NDArray[np.bool_] = green < 1.08 * red + 3
    road[_CAR] = True
    middle, middles = WIDTH_PX // 2, {}
    for y in _ROWS:
        found = np.flatnonzero(road[y])
        if not found.size:
            break
        at = int(found[np.abs(found - middle).argmin()])
        gaps = np.flatnonzero(~road[y])
        left = int(max(gaps[gaps < at], default=-1)) + 1
        right = int(min(gaps[gaps > at], default=WIDTH_PX)) - 1
        if right - left < 4:
            break
        width = _WIDTH * (y - 68)
        if right - left > 1.15 * width:  # the pits are beside it
            if right < WIDTH_PX - 2:
                left = int(max(left, right - width))
            elif left > 1:
                right = int(min(WIDTH_PX - 1, left + width))
        middles[y] = (left + right) / 2
        middle = int(min(max(middle + np.clip(middles[y] - middle, -10, 10), left), right))
    far = _mean(middles, max(78, min(middles, default=140) + 2))
    return far, _mean(middles, 115)


def _mean(middles: dict[int, float], row: int) -> float:
    near = [middle for y, middle in middles.items() if abs(y - row) <= 2]
    return (float(np.mean(near)) - WIDTH_PX / 2) / (WIDTH_PX / 2) if near else 0.0


if __name__ == "__main__":
    sys.exit(main())
