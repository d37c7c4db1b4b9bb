"""An example: a program that looks at TORCS' window and presses keys takes the place of the person who is recorded.

    python scripts/torcs_program.py record --seconds 300 --out episodes/torcs
    python -m training fit --game torcs --data episodes/torcs --out runs/torcs --no-auxiliary ...
    python scripts/torcs_program.py correct --seconds 150 --weights runs/torcs/best --out episodes/torcs-corrected
    python -m agent games run torcs --weights runs/torcs/best

`record` has the program drive, and records what it presses as `python -m agent record` records a person. `correct` has
a network drive, and records what the program would have done. Linux, with `apt install torcs xvfb openbox`.

It is an example of your own program on top of the project's parts. It is no command, because its player knows one
track: values were found by trial there.
"""

import sys
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agent.commands.options import JSON, Command, Entry, Invocation, make_parser
from agent.commands.program import run_program
from agent.commands.wiring import EXIT_DONE, note, say, say_json
from agent.contract.controls import Controls
from agent.contract.observation import Frame, Pixels
from agent.driving.rate import warm_up
from agent.games.registry import find_game
from agent.inputs.intention import Intention
from agent.policies.base import untimed
from agent.sessions.opening import open_policy
from agent.sessions.record_person import Demonstration
from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, at_least_zero, not_negative, path, positive, text
from agent.settings.shared import EngineSettings
from agent.system.pacing import clock_ns
from training.collecting.experts.torcs import Disturbances, Player
from training.collecting.in_window import pressed_keys, record_in_window

RESCUE_S = 3.0
"""How long the program drives once the network has left the road."""


@dataclass(frozen=True, kw_only=True)
class SessionSettings(Settings):
    """Where, and for how long."""

    out: Path = field(metadata=option("folder for the episodes", path, metavar="DIR"))
    track: str = field(
        default="e-track-5", metadata=option("name of the track's folder in the game", text, metavar="NAME")
    )
    laps: int = field(default=20, metadata=option("the session ends after N laps", at_least_one, metavar="N"))
    seconds: float = field(default=420.0, metadata=option("end after T seconds", positive, metavar="T"))


@dataclass(frozen=True, kw_only=True)
class RecordSettings(SessionSettings):
    """How often the program is disturbed."""

    disturb: float = field(
        default=7.0,
        metadata=option(
            "mean seconds between two disturbances, which steer it off the line; 0: none", not_negative, metavar="T"
        ),
    )
    seed: int = field(default=0, metadata=option("seed of the disturbances", at_least_zero, metavar="S"))


@dataclass(frozen=True, kw_only=True)
class CorrectSettings(SessionSettings, EngineSettings):
    """Which network drives."""


def record(settings: RecordSettings, invocation: Invocation) -> int:
    """Let the program drive. Where it is disturbed or lost, nothing is recorded."""
    player, disturbances = Player(), Disturbances(settings.disturb, settings.seed)

    def play(picture: Pixels, demonstration: Demonstration) -> Controls:
        wanted = player.decide(picture)
        demonstration.paused = disturbances.are_near() or player.is_lost
        return disturbances.disturb(wanted)

    options = replace(find_game("torcs").launcher().usual, track=settings.track, laps=settings.laps)
    hands = pressed_keys("torcs")
    return _report(record_in_window("torcs", options, hands, play, settings.out, settings.seconds), invocation)


def correct(settings: CorrectSettings, invocation: Invocation) -> int:
    """Let the network drive. Where it has left the road, the program drives for a moment."""
    player, hands, program_until_s, taken_over = Player(), Intention(), 0.0, 0
    options = replace(find_game("torcs").launcher().usual, track=settings.track, laps=settings.laps)
    with closing(open_policy(settings, "torcs", note)) as policy:
        warm_up(policy)
        policy.reset()

        def play(picture: Pixels, demonstration: Demonstration) -> Controls:
            nonlocal program_until_s, taken_over
            hands.controls = player.decide(picture)
            prediction, _ = policy.decide(Frame(picture, clock_ns()), untimed)
            driven = Controls.from_prediction(prediction, policy.spec.output_names).arbitrate()
            now_s = time.monotonic()
            demonstration.paused = player.is_lost
            if player.is_lost and now_s > program_until_s:
                program_until_s, taken_over = now_s + RESCUE_S, taken_over + 1
            return hands.controls if now_s < program_until_s else driven

        recorded = record_in_window("torcs", options, hands, play, settings.out, settings.seconds)
    return _report({**recorded, "taken_over": taken_over}, invocation)


def _report(report: dict[str, Any], invocation: Invocation) -> int:
    if invocation.json:
        say_json(report)
    else:
        laps = ", ".join(f"{seconds:.1f}" for seconds in report["laps_s"]) or "none"
        say(f"laps, s: {laps}; {report['figures']['rounds']:.2f} times round; {report['record']['frames']} rows")
    return EXIT_DONE


COMMANDS = (
    Entry(
        "record",
        "a program drives by keys, and is recorded",
        Command(settings=RecordSettings, run=record, json=JSON),
    ),
    Entry(
        "correct",
        "a network drives, and what the program would have done is recorded",
        Command(settings=CorrectSettings, run=correct, json=JSON),
    ),
)

if __name__ == "__main__":
    sys.exit(run_program(make_parser("python scripts/torcs_program.py", "TORCS driven by a program.", "", COMMANDS)))
