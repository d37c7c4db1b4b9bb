"""``record``: records episodes, for training or replay, of the network, the expert or a person."""

import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import ENDINGS, EXIT_DONE, exit_code, note, say, say_json
from agent.contract.errors import EpisodeError
from agent.games.registry import find_game
from agent.settings.record import RecordSettings

if TYPE_CHECKING:
    from agent.games.base import DriveState
    from agent.sessions.record_person import Demonstration

_LINE_PERIOD_S = 0.5


def _run(settings: RecordSettings, invocation: Invocation) -> int:
    if find_game(settings.game).profile.capture is not None and settings.driver is None:
        return _record_person(settings, invocation)
    return _record_simulator(settings)


def _record_simulator(settings: RecordSettings) -> int:
    from agent.sessions.record_simulator import record_simulator

    def on_episode(path: Path, state: "DriveState") -> None:
        say(f"{path}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after {state.time_s:.1f} s")

    record_simulator(settings, on_episode, note)
    return EXIT_DONE


def _record_person(settings: RecordSettings, invocation: Invocation) -> int:
    from agent.sessions.person_recording import record_person
    from agent.sessions.record_person import describe

    line = _StatusLine()
    try:
        recorded = record_person(settings, line.show, note)
    finally:
        line.end()
    if invocation.json:
        files = [str(path) for path in recorded.files]
        timing = asdict(recorded.timing)
        say_json({"game": recorded.game, **asdict(recorded.counts), "timing": timing, "files": files})
    else:
        say(describe(recorded.counts, "done"))
        for path in recorded.files:
            say(f"  wrote {path}")
    if recorded.failure is not None:
        raise recorded.failure
    if not recorded.files and not settings.wait:
        raise EpisodeError("nothing was recorded, expected a drive while the game's window has the focus; see above.")
    return exit_code(recorded.interrupted and settings.seconds is not None, [])


class _StatusLine:
    """Shows the state of the recording in one line of the terminal; shows nothing without a terminal."""

    def __init__(self) -> None:
        self._next_ns = 0

    def show(self, session: "Demonstration") -> None:
        from agent.sessions.record_person import describe, state_of

        if sys.stderr.isatty() and time.monotonic_ns() >= self._next_ns:
            self._next_ns = time.monotonic_ns() + round(_LINE_PERIOD_S * 1e9)
            columns = shutil.get_terminal_size().columns - 1
            line = describe(session.counts, state_of(session))
            sys.stderr.write("\r" + line[:columns].ljust(columns))
            sys.stderr.flush()

    def end(self) -> None:
        if self._next_ns:
            sys.stderr.write("\n")


COMMAND = Command(
    settings=RecordSettings,
    run=_run,
    example="python -m agent record --game gta5 --out episodes",
    json=JSON,
)
