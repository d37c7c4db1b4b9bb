"""``python -m tests.road_game.person``: a person at the keyboard, their key events real ones (XTEST).

They see the game through its log. ``drive`` drives races, ``watch`` lets another drive and takes over by F8 when that
goes wrong, ``starts`` sees whether another pulls away by itself. Results are JSON on the standard output.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .driver import CAREFUL, Driver, Manner, Row
from .figures import Spell, figures
from .track import Track

_LOOKS_PER_S = 60
_TAP_S = 0.07
_SILENT_S = 5.0
_SHOWN_WITHIN_S = 20.0
_PUT_BACK_S = 25.0  # a rescue that takes longer asks the game to put the car back
_KEYS = {
    "left": "Left",
    "right": "Right",
    "up": "Up",
    "down": "Down",
    "enter": "Return",
    "escape": "Escape",
    "r": "r",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}
"""What the keys are called here, and by X."""


class Keyboard:
    """Presses keys; a context manager that lets go of all of them.

    Args:
        desktop: The X display; None: the one that ``DISPLAY`` names.
    """

    def __init__(self, desktop: str | None = None) -> None:
        from Xlib import XK, display

        self._display = display.Display(desktop)
        self._codes = {
            name: self._display.keysym_to_keycode(XK.string_to_keysym(symbol)) for name, symbol in _KEYS.items()
        }
        self._held: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.hold(frozenset())
        self._display.close()

    def hold(self, names: frozenset[str]) -> None:
        """Hold these keys from now on and no others."""
        from Xlib import X

        for name in self._held - names:
            self._send(X.KeyRelease, name)
        for name in names - self._held:
            self._send(X.KeyPress, name)
        self._held = names

    def tap(self, name: str) -> None:
        """Press a key for a moment."""
        from Xlib import X

        self._send(X.KeyPress, name)
        time.sleep(_TAP_S)
        self._send(X.KeyRelease, name)

    def _send(self, event: int, name: str) -> None:
        from Xlib.ext import xtest

        xtest.fake_input(self._display, event, self._codes[name])
        self._display.sync()


class LogReader:
    """Follows a game's log as it is written.

    Args:
        path: The log; waits until the game has begun it.

    Attributes:
        first: Its first line, which tells of the track.
    """

    def __init__(self, path: Path, seconds: float = 30.0) -> None:
        give_up_s = time.monotonic() + seconds
        while not path.exists() or "\n" not in path.read_text(encoding="utf-8"):
            if time.monotonic() > give_up_s:
                raise RuntimeError(f"{path} was not begun within {seconds:.0f} s, expected a game that writes it.")
            time.sleep(0.05)
        self._file = path.open(encoding="utf-8")
        self._rest = ""
        self.first: Row = json.loads(self._file.readline())
        self._newest: Row | None = None
        self._unread: list[Row] = []

    def close(self) -> None:
        """Stop following it."""
        self._file.close()

    def rows(self) -> list[Row]:
        """Return what has been written since this was last asked."""
        self._read()
        rows, self._unread = self._unread, []
        return rows

    def newest(self) -> Row:
        """Return the newest line.

        Raises:
            RuntimeError: If nothing has been written for a while: the game has ended.
        """
        give_up_s = time.monotonic() + _SILENT_S
        while True:
            self._read()
            if self._newest is not None and time.monotonic() - self._newest["clock_s"] < _SILENT_S:
                return self._newest
            if time.monotonic() > give_up_s:
                raise RuntimeError(f"the game has written nothing for {_SILENT_S:.0f} s, expected 30 lines a second.")
            time.sleep(0.02)

    def _read(self) -> None:
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        self._unread += [json.loads(line) for line in lines]
        if self._unread:
            self._newest = self._unread[-1]


@dataclass(frozen=True)
class Patience:
    """When a person who watches takes over, and when they hand back.

    Attributes:
        off_road_s: Off the road for longer.
        crooked: Or pointing away from the road by more, radians, for as long.
        stands_s: Or standing for longer.
        least_s: Drives for at least so long.
        sound_s: And until all has been well for so long.
    """

    off_road_s: float = 0.7
    crooked: float = 1.2
    stands_s: float = 8.0
    least_s: float = 2.5
    sound_s: float = 1.2


class Alarm:
    """Tells from the log's rows whether a person would take over by now."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}

    def cause(self, row: Row) -> str | None:
        """Return why to take over: ``off the road``, ``crooked`` or ``stands``; None: let it drive."""
        patience, now_s = self._patience, row["clock_s"]
        signs = {
            "off the road": (row["off_road"], patience.off_road_s),
            "crooked": (abs(row["road_angle"]) > patience.crooked, patience.off_road_s),
            "stands": (abs(row["speed"]) < 0.5, patience.stands_s),
        }
        found = None
        for name, (is_there, most_s) in signs.items():
            if not is_there:
                self._since.pop(name, None)
            elif now_s - self._since.setdefault(name, now_s) > most_s:
                found = found or name
        return found

    def is_sound(self, row: Row) -> bool:
        """Return whether the car is well on its way again."""
        return bool(abs(row["offset_m"]) < 2.0 and abs(row["road_angle"]) < 0.2 and row["speed"] > 5.0)


class Person:
    """Somebody before the game.

    Args:
        log: Of the game.
        keyboard: Open.
        manner: How they drive.
        seed: Of their errors.
    """

    def __init__(self, log: LogReader, keyboard: Keyboard, manner: Manner, seed: int) -> None:
        self._log = log
        self._keyboard = keyboard
        track = Track(log.first["seed"])
        self._driver = Driver(track, manner, seed)
        self._rescuer = Driver(track, CAREFUL, seed)

    def begin_race(self) -> None:
        """Go to the menu and begin a race: the car stands at the line."""
        self._expect("the game's window to have the keyboard", lambda row: row["focused"])
        self._keyboard.tap("escape")
        self._expect("the menu", lambda row: row["state"] == "menu")
        self._keyboard.tap("enter")
        self._expect("the race", lambda row: row["state"] == "driving")

    def _expect(self, what: str, is_so: Callable[[Row], bool]) -> None:
        until_s = time.monotonic() + _SHOWN_WITHIN_S
        while not is_so(self._log.newest()):
            if time.monotonic() > until_s:
                raise RuntimeError(f"{what} did not come within {_SHOWN_WITHIN_S:.0f} s: {self._log.newest()}")
            time.sleep(0.02)

    def drive(self, seconds: float) -> list[Row]:
        """Drive for so long; return what the log says of it."""
        rows = self._log.rows()
        now_s = time.monotonic()
        until_s = now_s + seconds
        self._driver.sit_down(now_s)
        for now_s in _looks(until_s):
            self._keyboard.hold(self._driver.decide(self._log.newest(), now_s))
            rows += self._log.rows()
        self._keyboard.hold(frozenset())
        return rows

    def drive_races(self, races: int, seconds: float, recorded: bool) -> list[Row]:
        """Drive races of so long each, every one from a standing start.

        Args:
            races: How many.
            seconds: Each.
            recorded: Press F9 at the beginning and the end of each, as a recorder's key.
        """
        rows: list[Row] = []
        for _ in range(races):
            self.begin_race()
            if recorded:
                self._keyboard.tap("f9")
                time.sleep(0.3)
            rows += self.drive(seconds)
            if recorded:
                self._keyboard.tap("f9")
                time.sleep(1.0)
        return rows

    def watch(self, seconds: float, patience: Patience, races: int = 1) -> tuple[list[Row], list[Spell]]:
        """Let another drive, and take over by F8 whenever that goes wrong.

        Args:
            seconds: Altogether.
            patience: When to take over.
            races: How many standing starts there are, spread evenly.

        Returns:
            What the log says, and when the person drove.
        """
        rows: list[Row] = []
        spells: list[Spell] = []
        for _ in range(races):
            until_s = time.monotonic() + seconds / races
            self.begin_race()
            rows += self._log.rows()
            alarm = Alarm(patience)
            for _ in _looks(until_s):
                self._log.newest()
                fresh = self._log.rows()
                rows += fresh
                cause = next(filter(None, map(alarm.cause, fresh)), None)
                if cause is not None:
                    spell, driven = self._rescue(cause, patience)
                    spells.append(spell)
                    rows += driven
                    alarm = Alarm(patience)
        return rows, spells

    def starts(self, count: int, seconds: float) -> list[float | None]:
        """Return after how long another has driven the first 15 m of each race, None if not within so long."""
        took: list[float | None] = []
        for _ in range(count):
            self.begin_race()
            began_s = time.monotonic()
            took.append(None)
            for now_s in _looks(began_s + seconds):
                if self._log.newest()["distance_m"] > 15.0:
                    took[-1] = round(now_s - began_s, 2)
                    break
        return took

    def _rescue(self, cause: str, patience: Patience) -> tuple[Spell, list[Row]]:
        """Take over, drive until all is well and hand back."""
        rows: list[Row] = []
        self._keyboard.tap("f8")
        began_s = time.monotonic()
        self._rescuer.sit_down(began_s)
        alarm = Alarm(patience)
        sound_since_s, put_back = None, False
        for now_s in _looks(began_s + 60.0):
            row = self._log.newest()
            rows += self._log.rows()
            self._keyboard.hold(self._rescuer.decide(row, now_s))
            if not put_back and now_s - began_s > _PUT_BACK_S:
                self._keyboard.tap("r")
                put_back = True
            if not alarm.is_sound(row):
                sound_since_s = None
            elif sound_since_s is None:
                sound_since_s = now_s
            elif now_s - sound_since_s > patience.sound_s and now_s - began_s > patience.least_s:
                break
        self._keyboard.hold(frozenset())
        self._keyboard.tap("f8")
        return Spell(began_s, time.monotonic(), cause), rows


def _looks(until_s: float) -> Iterator[float]:
    """Yield the time now, 60 times a second until then."""
    while (now_s := time.monotonic()) < until_s:
        yield now_s
        time.sleep(1 / _LOOKS_PER_S)


@contextmanager
def person_at(log: Path, manner: Manner, seed: int, desktop: str | None = None) -> Iterator[Person]:
    """Sit a person down before the game.

    Args:
        log: Of the game.
        manner: How they drive.
        seed: Of their errors.
        desktop: The X display; None: the one that ``DISPLAY`` names.
    """
    reader = LogReader(log)
    try:
        with Keyboard(desktop) as keyboard:
            yield Person(reader, keyboard, manner, seed)
    finally:
        reader.close()


def main() -> None:
    """Read the command line, sit down and do it."""
    parser = argparse.ArgumentParser(prog="python -m tests.road_game.person", description=__doc__)
    parser.add_argument("what", choices=("drive", "watch", "starts"), help="see above")
    parser.add_argument("--log", type=Path, required=True, metavar="FILE", help="the game's log")
    parser.add_argument("--seed", type=int, default=0, help="of the person's errors (default: 0)")
    parser.add_argument("--races", type=int, default=1, help="standing starts (default: 1)")
    parser.add_argument("--seconds", type=float, default=60.0, help="drive, starts: a race; watch: altogether (60)")
    parser.add_argument("--record-key", action="store_true", help="drive: press F9 before and after every race")
    parser.add_argument("--swerves", type=float, default=Manner.swerves_per_minute, help="drive: a minute (default: 2)")
    arguments = parser.parse_args()
    manner = Manner(swerves_per_minute=arguments.swerves)
    answer: dict[str, Any]
    with person_at(arguments.log, manner, arguments.seed) as person:
        if arguments.what == "drive":
            answer = figures(person.drive_races(arguments.races, arguments.seconds, arguments.record_key), [])
        elif arguments.what == "watch":
            answer = figures(*person.watch(arguments.seconds, Patience(), arguments.races))
        else:
            took = person.starts(arguments.races, arguments.seconds)
            answer = {"started": sum(seconds is not None for seconds in took), "of": len(took), "after_s": took}
    sys.stdout.write(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
