"""``python -m tests.road_game.lockstep``: the road game on a virtual clock, with the agent's own parts around it.

Live figures depend on what else a machine does; these do not. Game, keyboard, person and agent share one clock that
nobody waits for. What is recorded and pressed is what the window's ``record`` and ``drive`` would have: the same
sampling and averaging of keys, the same pulses, the same takeover. What is left out is the desktop.

``record`` has the scripted person drive. ``drive`` has a network drive and the person help. Figures are JSON.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import numpy as np
import pygame

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader
from agent.contract.observation import Frame
from agent.contract.profile import Capture, GameProfile, KeyMap
from agent.controllers.keyboard import Keyboard
from agent.driving.loop import drive
from agent.driving.takeover import Takeover
from agent.engines.registry import load_engine
from agent.games.registry import find_game
from agent.inputs.keyboard import KeyboardInput
from agent.inputs.sampling import KEYS_AVERAGED_S, ControlTrack
from agent.inputs.wheels import GameWheel
from agent.observers.episode_writer import EpisodeRecorder
from agent.policies.base import Policy
from agent.policies.network import NetworkPolicy
from agent.sessions.record_person import Demonstration
from agent.system.pacing import Pacer, VirtualClock

from .car import Hands
from .driver import CAREFUL, Driver, Manner, Row
from .figures import Spell, figures
from .game import PICTURES_PER_S, Game, Log
from .person import Alarm, Patience

_STEP_NS = 5_000_000  # as fine as the agent's keyboard divides time
_PICTURE_NS = round(1e9 / PICTURES_PER_S)
_LATENCY_NS = 15_000_000  # from a picture to the keys, as of a small network on a machine that has time for it
_SIZE = (640, 360)
Keys = frozenset[str]

ROAD = GameProfile(
    name="my-road",
    title="Road",
    rate_hz=20.0,
    masks=(),
    mirrored=(),
    notes="the road game on a virtual clock",
    capture=Capture(window="Road Game"),
    controller="keyboard",
)


class Desk:
    """The game, and a clock that goes on only when told to.

    Args:
        seed: Of the track.

    Attributes:
        clock: Everything's.
        game: The game.
        rows: What its log would say so far.
        held: Returns which keys are down; asked every 5 ms.
    """

    def __init__(self, seed: int) -> None:
        self.clock = VirtualClock()
        self.game = Game(seed, True, Log(None))
        self.rows: list[Row] = []
        self.held: Callable[[], Keys] = frozenset
        self._due_ns = 0
        self._drawn: int | None = None
        self._picture = pygame.Surface(_SIZE, depth=32)  # BGRA in memory, as a capture has it
        self.pass_until(_PICTURE_NS)

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def now_s(self) -> float:
        """Return the time in seconds."""
        return self.clock() / 1e9

    def begin_race(self) -> None:
        """Put the car at the line."""
        self.game.back_to_menu()
        self.sleep(2 / PICTURES_PER_S)
        self.game.confirm()
        self.sleep(2 / PICTURES_PER_S)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pass_until(self.clock() + round(seconds * 1e9))

    def pass_until(self, until_ns: int) -> None:
        """Let time pass, the game drawing and listening 30 times a second."""
        while self.clock() < until_ns:
            self.clock.advance_to(min(until_ns, self.clock() + _STEP_NS))
            keys = self.held()
            if self.clock() >= self._due_ns:
                self._due_ns += _PICTURE_NS
                steering = float("right" in keys) - float("left" in keys)
                self.game.step(Hands(steering, float("up" in keys), float("down" in keys)), 1 / PICTURES_PER_S)
                self.rows.append({"clock_s": self.now_s(), **self.game.report()})

    def read(self) -> Frame:
        """Return the newest picture, as a capture of the window would."""
        number = len(self.rows)
        if self._drawn != number:
            self.game.draw(self._picture)
            self._drawn = number
        width, height = _SIZE
        pixels = np.asarray(self._picture.get_view("2")).T.copy().view(np.uint8).reshape(height, width, 4)
        return Frame(pixels, self.clock(), number)


def record(desk: Desk, profile: GameProfile, folder: Path, races: int, seconds: float, seed: int) -> dict[str, Any]:
    """Have the person drive races from standing starts and record them, as ``agent record`` does.

    Args:
        desk: The game.
        profile: Driven by keys.
        folder: For the episodes.
        races: How many.
        seconds: Each.
        seed: Of the person's errors.

    Returns:
        The person's figures.
    """
    driver = Driver(desk.game.track, Manner(), seed)
    header = EpisodeHeader(profile.name, "human", profile.rate_hz, desk.game.track.seed, profile.notes)
    for _ in range(races):
        desk.begin_race()
        keyboard = KeyboardInput(profile.keys, desk.clock, GameWheel(profile.keys.steering_ramp))
        track = ControlTrack()
        pressed: Keys = frozenset()

        def hands(keyboard: KeyboardInput = keyboard, track: ControlTrack = track) -> Keys:
            nonlocal pressed
            pressed = _press(keyboard, pressed, driver.decide(desk.rows[-1], desk.now_s()))
            track.add(desk.clock(), keyboard.read())
            return pressed

        driver.sit_down(desk.now_s())
        desk.held = hands
        until_ns = desk.clock() + round(seconds * 1e9)
        pacer = Pacer(1 / profile.rate_hz, desk.clock, desk.sleep)
        with Demonstration(
            desk, track, header, folder, clock=desk.clock, blocking=True, averaged_s=KEYS_AVERAGED_S
        ) as session:
            session.run(pacer, lambda until_ns=until_ns: desk.clock() >= until_ns)  # type: ignore[misc]
        desk.held = frozenset
    return figures(desk.rows, [])


def let_drive(
    desk: Desk, profile: GameProfile, policy: Policy, races: int, seconds: float, recorded: Path | None
) -> dict[str, Any]:
    """Have a policy drive races from standing starts, the person helping where it goes wrong.

    Args:
        desk: The game.
        profile: Driven by keys.
        policy: What decides.
        races: How many.
        seconds: Each.
        recorded: Folder for an episode a race, as of ``agent drive --record``; None: none.

    Returns:
        The figures.
    """
    spells: list[Spell] = []
    for number in range(races):
        desk.begin_race()
        hands = TwoHands(desk, profile.keys, 1 / profile.rate_hz, spells)
        observers = []
        if recorded is not None:
            header = EpisodeHeader(profile.name, policy.driver, profile.rate_hz, desk.game.track.seed, profile.notes)
            path = recorded / f"{profile.name}-{desk.game.track.seed}-{number}.parquet"
            observers.append(EpisodeRecorder(path, header, blocking=True))
        until_ns = desk.clock() + round(seconds * 1e9)
        pacer = Pacer(1 / profile.rate_hz, desk.clock, desk.clock.sleep)
        summary = drive(
            desk,
            hands,
            policy,
            pacer,
            observers,
            until=lambda until_ns=until_ns: desk.clock() >= until_ns,  # type: ignore[misc]
            takeover=hands.takeover,
        )
        desk.held = frozenset
        if summary.problems:
            raise RuntimeError(summary.problems[0])
    return figures(desk.rows, spells)


class TwoHands:
    """The controller of a drive: the agent's keyboard, or while the person has taken over, theirs.

    Args:
        desk: The game.
        keys: Of the game.
        period_s: Between two decisions.
        spells: Gets every while that the person drove.
        first: How the person drives before they let go for the first time; None: the agent drives at first.
        lets_go: Whether the person would give the wheel away.
        seed: Of the person's errors before they let go for the first time.
    """

    def __init__(
        self,
        desk: Desk,
        keys: KeyMap,
        period_s: float,
        spells: list[Spell],
        first: Manner | None = None,
        lets_go: Callable[[], bool] = lambda: True,
        seed: int = 0,
    ) -> None:
        self._desk = desk
        self._period_ns = round(period_s * 1e9)
        self._keyboard = _StillKeyboard(keys, _NoKeys, desk.clock)
        self._person = KeyboardInput(keys, desk.clock, GameWheel(keys.steering_ramp))
        self.takeover = Takeover(keys=self._person)
        self._rescuer = Driver(desk.game.track, CAREFUL, 0)
        self._driver = self._rescuer if first is None else Driver(desk.game.track, first, seed)
        self._lets_go = lets_go
        self._patience = Patience()
        self._alarm = Alarm(self._patience)
        self._spells = spells
        self._cause = ""
        self._began_s = 0.0
        self._sound_since_s: float | None = None
        self._pressed: Keys = frozenset()
        self._watched = len(desk.rows)

    def __enter__(self) -> "TwoHands":
        self._keyboard.__enter__()
        self._desk.held = self._held
        if self._driver is not self._rescuer:
            self._take("demonstration", self._desk.now_s())
        return self

    def __exit__(self, *exc: object) -> None:
        self._desk.held = frozenset
        self._keyboard.__exit__(None, None, None)
        if self.takeover.by is not None:
            self._hand_back()

    def send(self, controls: Controls) -> None:
        """Press the keys a little after the picture, and let time pass until the next decision."""
        picture_ns = self._desk.clock()
        self._desk.pass_until(picture_ns + _LATENCY_NS)
        if not self.takeover.reach_the_game:
            self._keyboard.send(controls)
        self._desk.pass_until(picture_ns + self._period_ns)

    def _held(self) -> Keys:
        for row in self._desk.rows[self._watched :]:
            self._watch(row)
        self._watched = len(self._desk.rows)
        if self.takeover.by is None:
            self._keyboard.step()
            return self._keyboard.down
        wanted = self._driver.decide(self._desk.rows[-1], self._desk.now_s())
        self._pressed = _press(self._person, self._pressed, wanted)
        return self._pressed

    def _watch(self, row: Row) -> None:
        now_s, patience = row["clock_s"], self._patience
        if self.takeover.by is None:
            cause = self._alarm.cause(row)
            if cause is not None:
                self._take(cause, now_s)
        elif not self._alarm.is_sound(row):
            self._sound_since_s = None
        elif self._sound_since_s is None:
            self._sound_since_s = now_s
        elif now_s - self._sound_since_s > patience.sound_s and now_s - self._began_s > patience.least_s:
            self._hand_back_if_willing()

    def _hand_back_if_willing(self) -> None:
        if self._lets_go():
            self._hand_back()

    def _take(self, cause: str, now_s: float) -> None:
        self._cause, self._began_s, self._sound_since_s = cause, now_s, None
        self._driver.sit_down(now_s)
        self.takeover.change_hands()

    def _hand_back(self) -> None:
        self._pressed = _press(self._person, self._pressed, frozenset())
        self.takeover.change_hands()
        self._spells.append(Spell(self._began_s, self._desk.now_s(), self._cause))
        self._alarm = Alarm(self._patience)
        self._driver = self._rescuer


class _StillKeyboard(Keyboard):
    """Steps when it is told to, and has no thread that does so in the meantime."""

    @property
    def down(self) -> Keys:
        """Which keys it holds."""
        return frozenset(self._down)

    def _work(self) -> None:
        pass


class _NoKeys:
    """Where the keyboard presses its keys: they are asked for instead."""

    def check(self, name: str) -> None:
        """Know every key."""

    def press(self, name: str) -> None:
        """Do nothing."""

    def release(self, name: str) -> None:
        """Do nothing."""


def _press(keyboard: KeyboardInput, before: Keys, now: Keys) -> Keys:
    for name in before - now:
        keyboard.release(name)
    for name in now - before:
        keyboard.press(name)
    return now


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.road_game.lockstep", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("record", "drive"))
    parser.add_argument("--game", default="my-road", help="its profile; by keys (default: my-road)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for episodes; drive: the corrections, if given")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="drive: the network")
    parser.add_argument("--engine", default="openvino", help="drive: what runs it (default: openvino)")
    parser.add_argument("--seed", type=int, default=0, help="of the track and the person's errors (default: 0)")
    parser.add_argument("--races", type=int, default=8, help="each from a standing start (default: 8)")
    parser.add_argument("--minutes", type=float, default=10.0, help="altogether (default: 10)")
    arguments = parser.parse_args()
    profile = find_game(arguments.game).profile
    seconds = arguments.minutes * 60 / arguments.races
    if arguments.what == "record":
        if arguments.out is None:
            parser.error("record needs --out")
        told = record(Desk(arguments.seed), profile, arguments.out, arguments.races, seconds, arguments.seed)
    else:
        if arguments.weights is None:
            parser.error("drive needs --weights")
        logging.getLogger("agent.driving.takeover").setLevel(logging.ERROR)
        with ExitStack() as stack:
            policy = stack.enter_context(closing(NetworkPolicy(load_engine(arguments.engine, arguments.weights, None))))
            told = let_drive(Desk(arguments.seed), profile, policy, arguments.races, seconds, arguments.out)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
