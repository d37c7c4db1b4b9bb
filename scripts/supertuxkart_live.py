"""Drives a race of SuperTuxKart, unmodified, in its window, on a desktop that nobody sees: one command does it all.

    python scripts/supertuxkart_live.py --track lighthouse --video lap.mp4

It brings up the desktop and the game, runs `python -m agent drive` on it, and takes everything down again, however it
ends. How the race went is read from the game's own list of highscores, for the report alone: the network sees the
window's pictures and nothing else. Linux; `--install` installs what is missing on Debian and Ubuntu.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.capture.desktop import open_desktop  # noqa: E402
from agent.capture.screen import ScreenSource  # noqa: E402
from agent.commands.options import argument  # noqa: E402
from agent.contract.errors import AgentError, BlindError, GameError  # noqa: E402
from agent.engines.registry import EngineChoices  # noqa: E402
from agent.games.registry import find_game  # noqa: E402
from agent.games.supertuxkart.window import Race, race_in_window  # noqa: E402
from agent.games.virtual_desktop import joined, virtual_desktop  # noqa: E402
from agent.settings.checks import control_rate, positive, video_path  # noqa: E402
from agent.system.interrupts import end_like_ctrl_c  # noqa: E402

PACKAGES = ("xvfb", "openbox", "supertuxkart")
_WINDOW_S = 180.0  # the first start compiles shaders
_LOOK_S = 0.008  # how often the game's pictures are counted: 60 a second are told apart, for 5 % of a core


def main() -> int:
    """Return 0 if the race was finished, 1 if it was not or something failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="exit code: 0 the race was finished, 1 it was not, or something failed, 2 bad usage, 130 Ctrl-C",
    )
    parser.add_argument("--track", default="lighthouse", help="as the game names it (default: lighthouse)")
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="model folder (default: model_weights/supertuxkart)"
    )
    parser.add_argument(
        "--engine",
        choices=EngineChoices(),
        metavar="NAME",
        default="openvino-int8",
        help="what runs the network: %(choices)s (default: openvino-int8)",
    )
    parser.add_argument(
        "--rate", type=argument(control_rate), default=30.0, metavar="HZ", help="control rate (default: 30)"
    )
    parser.add_argument(
        "--seconds", type=argument(positive), default=300.0, metavar="T", help="give up after (default: 300)"
    )
    parser.add_argument("--video", type=argument(video_path), metavar="FILE", help="film the drive (.mp4)")
    parser.add_argument("--install", action="store_true", help=f"first `apt-get install {' '.join(PACKAGES)}`")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    arguments = parser.parse_args()
    end_like_ctrl_c()
    try:
        if arguments.install:
            _install()
        report = _race(arguments)
    except AgentError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if arguments.json else _describe(report))
    return 0 if report["race_s"] is not None else 1


def _install() -> None:
    root = [] if os.geteuid() == 0 else ["sudo"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        if subprocess.run([*root, "apt-get", "--quiet", *command], stdout=sys.stderr, check=False).returncode:
            raise GameError(
                f"`apt-get {' '.join(command)}` failed, expected Debian or Ubuntu and the right to install."
            )


def _race(arguments: argparse.Namespace) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    game_cores, drive_cores = cores[: len(cores) // 2] or cores, cores[len(cores) // 2 :]
    with tempfile.TemporaryDirectory(prefix="supertuxkart-", ignore_cleanup_errors=True) as home:
        os.sched_setaffinity(0, game_cores)  # for the desktop and the game, which inherit it
        with (
            virtual_desktop(640, 400) as environment,
            joined(environment),
            race_in_window(arguments.track, environment, Path(home)) as race,
        ):
            _wait_for_window(race)
            os.sched_setaffinity(0, drive_cores)
            drive = subprocess.Popen(
                _drive_command(arguments, drive_cores),
                env={**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
                stdout=subprocess.PIPE,
                text=True,
            )
            os.sched_setaffinity(0, game_cores)
            try:
                with _counted_pictures() as pictures:
                    seconds = _watch(race, drive)
            finally:
                if drive.poll() is None:
                    drive.send_signal(signal.SIGINT)  # as Ctrl-C: the film is finished, the keys are let go of
                output = drive.communicate()[0]
    if not output and drive.returncode > 0:
        raise SystemExit(drive.returncode)  # it has said why
    if not output:
        raise GameError(
            f"the drive said nothing (exit code {drive.returncode}), expected what it drove. Something ended it from "
            "outside: look whether memory ran out."
        )
    driven: dict[str, Any] = json.loads(output)
    return {
        "track": arguments.track,
        "race_s": seconds,
        "game_pictures_per_second": pictures.per_second,
        "game_cores": game_cores,
        "drive": driven,
    }


def _drive_command(arguments: argparse.Namespace, cores: Sequence[int]) -> list[str]:
    command = [sys.executable, "-m", "agent", "drive", "--game", "supertuxkart", "--engine", arguments.engine]
    command += ["--no-takeover", "--json", "--seconds", str(arguments.seconds)]
    command += ["--cores", ",".join(map(str, cores)), "--threads", str(len(cores))]
    for option in ("weights", "rate", "video"):
        if (value := getattr(arguments, option)) is not None:
            command += [f"--{option}", str(value)]
    return command


class _PictureCounter:
    """Counts the game's new pictures in a thread of its own, more often than the network looks at them."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._began_s = time.monotonic()
        self.per_second = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        capture = find_game("supertuxkart").profile.capture
        assert capture is not None, "the profile of a game in a window"
        with suppress(AgentError), ScreenSource(capture) as source:
            while not self._stopping.wait(_LOOK_S):
                with suppress(BlindError):
                    source.read()
                new = source.counts.grabbed - source.counts.repeated
                self.per_second = new / (time.monotonic() - self._began_s)


@contextmanager
def _counted_pictures() -> Iterator[_PictureCounter]:
    counter = _PictureCounter()
    thread = threading.Thread(target=counter.run, daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        counter.stop()
        thread.join()


def _wait_for_window(race: Race) -> None:
    give_up_s = time.monotonic() + _WINDOW_S
    desktop = open_desktop()
    try:
        while not any("SuperTuxKart" in window.title for window in desktop.windows()):
            if time.monotonic() > give_up_s or race.process.poll() is not None:
                raise GameError(
                    f"the game showed no window within {_WINDOW_S:.0f} s, expected one. Run `supertuxkart`."
                )
            time.sleep(0.2)
    finally:
        desktop.close()


def _watch(race: Race, drive: "subprocess.Popen[str]") -> float | None:
    """Wait until the race or the drive has ended; return how long the race took, None if it was not finished."""
    while race.seconds is None and drive.poll() is None and race.process.poll() is None:
        time.sleep(0.5)
    return race.seconds


def _describe(report: dict[str, Any]) -> str:
    drive, timing = report["drive"], report["drive"]["timing"]
    race = "was not finished" if report["race_s"] is None else f"was finished in {report['race_s']:.2f} s"
    return (
        f"{report['track']} {race}\n"
        f"  {drive['predictions']} decisions, {drive['predictions_per_second']:.1f} a second, missed "
        f"{timing['missed_deadlines']}; capture to keys p50 {timing['latency_p50_s'] * 1e3:.0f} ms, p99 "
        f"{timing['latency_p99_s'] * 1e3:.0f} ms\n"
        f"  the game drew {report['game_pictures_per_second']:.1f} pictures a second; "
        f"stuck {drive['stuck_events']} times, rescued {drive['stuck_attempts']} times\n"
        + "".join(f"  wrote {path}\n" for path in drive["files"])
    )


if __name__ == "__main__":
    sys.exit(main())
