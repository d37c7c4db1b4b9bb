"""Records and drives TORCS, unmodified, in its window, on a desktop that nobody sees.

    python scripts/torcs_live.py record --seconds 300 --out episodes/torcs
    python -m training fit --game torcs --data episodes/torcs --out runs/torcs --no-auxiliary ...
    python scripts/torcs_live.py correct --seconds 150 --weights runs/torcs/best --out episodes/torcs-corrected
    python -m training fit ... --data episodes/torcs episodes/torcs-corrected --out runs/torcs-corrected ...
    python scripts/torcs_live.py drive --weights runs/torcs-corrected/best --video torcs.mp4

`record` has a program drive that sees the window's pictures and presses keys, as a person would; what it presses is
recorded as `python -m agent record` records a person. `correct` has a network drive and records what the program would
have done. How far round a drive gets is read from the map in the game's picture, and laps from the game's own results,
both for the report alone. Linux, with `apt install torcs xvfb openbox`.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.capture.screen import ScreenSource  # noqa: E402
from agent.commands.options import argument  # noqa: E402
from agent.commands.wiring import EXIT_FAULT, note  # noqa: E402
from agent.contract.controls import NEUTRAL, Controls  # noqa: E402
from agent.contract.episodes.columns import EpisodeHeader  # noqa: E402
from agent.contract.errors import AgentError, BlindError, GameError  # noqa: E402
from agent.contract.observation import Frame, Pixels  # noqa: E402
from agent.controllers.keyboard import Keyboard  # noqa: E402
from agent.driving.rate import warm_up  # noqa: E402
from agent.engines.registry import EngineChoices  # noqa: E402
from agent.games.registry import find_game  # noqa: E402
from agent.games.torcs.player import Disturbances, Player  # noqa: E402
from agent.games.torcs.progress import Progress  # noqa: E402
from agent.games.torcs.window import Session, session_in_window  # noqa: E402
from agent.games.virtual_desktop import joined, virtual_desktop  # noqa: E402
from agent.inputs.base import InputDevice  # noqa: E402
from agent.inputs.keyboard import KeyboardInput  # noqa: E402
from agent.inputs.sampling import KEYS_AVERAGED_S, ControlTrack, Sampler  # noqa: E402
from agent.inputs.wheels import GameWheel  # noqa: E402
from agent.policies.base import untimed  # noqa: E402
from agent.sessions.opening import open_policy  # noqa: E402
from agent.sessions.record_person import Demonstration  # noqa: E402
from agent.settings.checks import not_negative  # noqa: E402
from agent.settings.shared import EngineSettings  # noqa: E402
from agent.system.interrupts import end_like_ctrl_c  # noqa: E402
from agent.system.pacing import Pacer, clock_ns  # noqa: E402

_PERIOD_S = 0.05


def main() -> int:
    """Return 0, or 1 if something failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--track", default="e-track-5", help="as the game names its folder (default: e-track-5)")
    common.add_argument("--laps", type=int, default=20, help="after which the session ends (default: 20)")
    common.add_argument("--seconds", type=float, default=420.0, metavar="T", help="end after so many (default: 420)")
    common.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    record = commands.add_parser("record", parents=[common], help="a program drives by keys, and is recorded")
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    record.add_argument(
        "--disturb",
        type=argument(not_negative),
        default=7.0,
        metavar="T",
        help="mean seconds between two disturbances, in which it steers off the line (default: 7; 0: never)",
    )
    record.add_argument("--seed", type=int, default=0, help="of the disturbances (default: 0)")
    record.set_defaults(run=_record)
    correct = commands.add_parser("correct", parents=[common], help="a network drives, and the program says better")
    correct.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    correct.add_argument("--weights", type=Path, required=True, metavar="DIR", help="model folder")
    correct.add_argument(
        "--engine",
        choices=EngineChoices(),
        metavar="NAME",
        default="auto",
        help="what runs the network: %(choices)s (default: auto)",
    )
    correct.add_argument("--threads", type=int, metavar="N", help="of the network (default: all cores)")
    correct.set_defaults(run=_correct)
    drive = commands.add_parser("drive", parents=[common], help="a network drives")
    drive.add_argument("--weights", type=Path, required=True, metavar="DIR", help="model folder")
    drive.add_argument(
        "--engine",
        choices=EngineChoices(),
        metavar="NAME",
        default="auto",
        help="what runs the network: %(choices)s (default: auto)",
    )
    drive.add_argument("--threads", type=int, metavar="N", help="of the network (default: all cores)")
    drive.add_argument("--video", type=Path, metavar="FILE", help="film the drive (.mp4)")
    drive.add_argument("--record", type=Path, metavar="DIR", help="record the drive into this folder")
    drive.set_defaults(run=_drive)
    arguments = parser.parse_args()
    end_like_ctrl_c()
    try:
        report = _session(arguments)
    except AgentError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    laps = ", ".join(f"{seconds:.1f}" for seconds in report["laps_s"]) or "none"
    text = f"laps, s: {laps}; {report['rounds']:.2f} times round\n"
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if arguments.json else text)
    return 0


def _session(arguments: argparse.Namespace) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="torcs-", ignore_cleanup_errors=True) as home,
        virtual_desktop(640, 400) as environment,
        joined(environment),
    ):
        with session_in_window(arguments.track, environment, Path(home), arguments.laps) as session:
            progress = Progress()
            report = arguments.run(arguments, session, progress)
        rounds = {"rounds": progress.rounds, "rounds_s": progress.rounds_s}
        return {"track": arguments.track, "laps_s": session.laps_s, **rounds, **report}


def _record(arguments: argparse.Namespace, session: Session, progress: Progress) -> dict[str, Any]:
    """Do what `python -m agent record --input keyboard` does, but in this process: disturbances are not recorded.

    Its hotkeys cannot be used for that: the game changes its camera by them.
    """
    profile = find_game("torcs").profile
    hands = KeyboardInput(profile.keys, wheel=GameWheel(profile.keys.steering_ramp))
    with Keyboard(profile.keys) as keyboard, _recording(arguments, session, hands, progress) as recording:
        player, disturbances = Player(), Disturbances(arguments.disturb, arguments.seed)

        def play(picture: Pixels) -> None:
            wanted = player.decide(picture)
            recording.demonstration.paused = disturbances.are_near() or player.is_lost
            keyboard.send(disturbances.disturb(wanted))

        recording.run(play)
    return {"record": asdict(recording.demonstration.counts)}


def _correct(arguments: argparse.Namespace, session: Session, progress: Progress) -> dict[str, Any]:
    """Have the network drive, and record what the program would have done: it drives itself where it gets too bad."""
    profile = find_game("torcs").profile
    player, hands = Player(), _Intention()
    program_until_s, taken_over = 0.0, 0
    with (
        closing(open_policy(_engine_settings(arguments), "torcs", note)) as policy,
        Keyboard(profile.keys) as keyboard,
        _recording(arguments, session, hands, progress) as recording,
    ):
        warm_up(policy)
        policy.reset()

        def play(picture: Pixels) -> None:
            nonlocal program_until_s, taken_over
            hands.controls = player.decide(picture)
            prediction, _ = policy.decide(Frame(picture, clock_ns()), untimed)
            driven = Controls.from_prediction(prediction, policy.spec.output_names).arbitrate()
            now_s = time.monotonic()
            recording.demonstration.paused = player.is_lost
            if player.is_lost and now_s > program_until_s:
                program_until_s, taken_over = now_s + _RESCUE_S, taken_over + 1
            keyboard.send(hands.controls if now_s < program_until_s else driven)

        recording.run(play)
    return {"record": asdict(recording.demonstration.counts), "taken_over": taken_over}


def _engine_settings(arguments: argparse.Namespace) -> EngineSettings:
    return EngineSettings(weights=arguments.weights, engine=arguments.engine, threads=arguments.threads)


def _drive(arguments: argparse.Namespace, session: Session, progress: Progress) -> dict[str, Any]:
    options = ["drive", "--weights", str(arguments.weights), "--engine", arguments.engine, "--no-takeover", "--json"]
    options += ["--video", str(arguments.video)] if arguments.video else []
    options += ["--threads", str(arguments.threads)] if arguments.threads else []
    options += ["--record", str(arguments.record)] if arguments.record else []

    def watch(ends: Callable[[], bool]) -> None:
        with _window() as source:
            while not ends() and session.process.poll() is None and not session.laps_s:
                with suppress(BlindError):
                    progress.add(source.read().pixels, time.monotonic())
                time.sleep(0.5)

    output = _beside(options, arguments.seconds, watch)
    return {"drive": json.loads(output) if output else None}  # none: ended before it had begun


def _beside(options: list[str], seconds: float, work: Callable[[Callable[[], bool]], None]) -> str:
    """Run a command of the agent beside some work, which is to end when told or the command has; return its output."""
    command = [sys.executable, "-m", "agent", *options, "--game", "torcs", "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    # A session of its own, as the game has: Linux shares the processors out by sessions (autogroups), whatever the nice
    # values, and the desktop that the pictures go through is in ours.
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        work(lambda: process.poll() is not None)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    if process.returncode not in (0, EXIT_FAULT, 130, -signal.SIGINT):  # after a fault it reports as well
        raise GameError(f"`{' '.join(command[1:4])}` failed ({process.returncode}). Mend what the line above says.")
    return output


@dataclass(slots=True)
class _Recording:
    demonstration: Demonstration
    sampler: Sampler
    source: ScreenSource
    session: Session
    seconds: float
    progress: Progress

    def run(self, play: Callable[[Pixels], None]) -> None:
        """Record and play, tick by tick, until the time or the session is over."""
        end_s = time.monotonic() + self.seconds

        def each_tick() -> None:
            self.sampler.check()
            with suppress(BlindError):
                picture = self.source.read().pixels
                self.progress.add(picture, time.monotonic())
                play(picture)

        def ends() -> bool:
            return time.monotonic() > end_s or self.session.process.poll() is not None

        with suppress(KeyboardInterrupt):
            self.demonstration.run(Pacer(_PERIOD_S), ends, each_tick)


@contextmanager
def _recording(
    arguments: argparse.Namespace, session: Session, hands: InputDevice, progress: Progress
) -> Iterator[_Recording]:
    profile, track = find_game("torcs").profile, ControlTrack()
    header = EpisodeHeader(profile.name, "program", profile.rate_hz, profile_notes=profile.notes, track=arguments.track)
    with (
        _window() as recorded,
        _window() as seen,
        Sampler(hands, track) as sampler,
        Demonstration(recorded, track, header, arguments.out, averaged_s=KEYS_AVERAGED_S) as demonstration,
    ):
        yield _Recording(demonstration, sampler, seen, session, arguments.seconds, progress)


def _window() -> ScreenSource:
    capture = find_game("torcs").profile.capture
    assert capture is not None, "the profile of a game in a window"
    return ScreenSource(capture, frozen_s=math.inf)


class _Intention:
    """What the program wants, for what it says instead of pressing it."""

    controls = NEUTRAL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def unheard(self) -> str | None:
        return None

    def read(self) -> Controls:
        return self.controls


_RESCUE_S = 3.0


if __name__ == "__main__":
    sys.exit(main())
