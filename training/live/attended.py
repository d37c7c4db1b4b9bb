"""A live training with a person: they drive a game in a window, and the network learns to, beside them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Self

from agent.contract.controls import with_standard_axes
from agent.contract.episodes.columns import EpisodeHeader
from agent.contract.errors import AgentError, ControllerError, TrainingError
from agent.contract.profile import GameProfile
from agent.contract.spec import ModelSpec
from agent.engines.registry import load_engine
from agent.games.registry import find_game
from agent.inputs.keyboard import Hotkeys
from agent.observers.base import TickObserver
from agent.policies.base import Policy
from agent.policies.hot_swap import HotSwapPolicy
from agent.policies.stacked import policy_for
from agent.sessions.window_drive import WindowDrive, drive_window
from agent.settings.drive import DriveSettings
from agent.system.pacing import TickStats
from training.live.config import LiveSettings
from training.live.courtesy import Courtesy
from training.live.interventions import Interventions
from training.live.keeper import Keeper
from training.live.ledger import Ledger
from training.live.player import Nobody, Player, is_small
from training.live.recorder import LiveRecorder
from training.live.trainer import EPISODES, RoundEnd, Told, run_trainer
from training.live.unattended import describe, end_trainer, live_spec

Note = Callable[[str], None]

_LOOK_S = 0.25
_SAID_EVERY_S = 10.0
_STARVED = 0.15
"""Of a core: with less, a trainer that has samples is called starved."""


@dataclass(frozen=True, slots=True)
class AttendedReport:
    """How a live training with a person ended.

    Attributes:
        drive: The drive.
        minutes: Takeovers in each minute of the network's own driving.
        interventions: Takeovers in all.
        alone_s: Seconds that the network drove.
        samples: Samples that arrived.
        rounds: Of the trainer.
        weights: The newest weights; None if none were handed over.
        courtesy: For how long the trainer paused because the drive was late, and what it cost the drive.
        restarts: How often the trainer had to be started again.
    """

    drive: WindowDrive
    minutes: tuple[int, ...]
    interventions: int
    alone_s: float
    samples: int
    rounds: int
    weights: Path | None
    courtesy: Courtesy
    restarts: int

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.drive.interrupted

    @property
    def problems(self) -> list[str]:
        """Outputs that are missing."""
        return self.drive.summary.problems

    @property
    def fault(self) -> str | None:
        """What ended the drive on the way."""
        return self.drive.summary.fault

    def describe(self) -> list[str]:
        """Return what it came to, a line each."""
        by_minute = ", ".join(map(str, self.minutes)) or "it never drove"
        lines = [
            f"{self.samples} samples, {self.rounds} rounds; the network drove for {self.alone_s / 60:.1f} minutes",
            f"interventions by minute of its own driving: {by_minute}",
        ]
        for when, counted in (("trained", self.courtesy.while_training), ("did not", self.courtesy.otherwise)):
            lines.append(f"missed {counted.missed} of {counted.deadlines} deadlines while the trainer {when}")
        if self.weights is not None:
            lines.append(f"next: python -m agent drive --game {self.drive.game} --weights {self.weights}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        courtesy = self.courtesy
        return {
            "minutes": self.minutes,
            "interventions": self.interventions,
            "alone_s": self.alone_s,
            "samples": self.samples,
            "rounds": self.rounds,
            "weights": None if self.weights is None else str(self.weights),
            "trainer_paused_s": courtesy.paused_s,
            "while_training": asdict(courtesy.while_training),
            "otherwise": asdict(courtesy.otherwise),
            "restarts": self.restarts,
            "drive": self.drive.to_dict(),
        }


def learn_attended(settings: LiveSettings, note: Note = lambda line: None) -> AttendedReport:
    """Let a person drive, learn from it, let the network try, and learn from their corrections, until Ctrl-C.

    Args:
        settings: The run; one in the same folder goes on.
        note: Is told of progress, a line at a time.

    Raises:
        AgentError: If it could not begin: no such game or window, no device to drive with, a folder in use.
    """
    game = find_game(settings.game)
    profile = game.profile
    if profile.capture is None:
        raise TrainingError(
            f"{profile.name} is not in a window, and nothing can be collected from it by an expert. Write a profile "
            "for its window: `python -m agent games new`."
        )
    taken = {getattr(profile.hotkeys, each.name).lower() for each in fields(profile.hotkeys)}
    for key in (settings.newest_key, settings.back_key):
        if key.lower() in taken:
            raise TrainingError(
                f"{key} is one of the hotkeys of {profile.name}'s profile. Choose others with --newest-key and "
                "--back-key."
            )
    spec = live_spec(settings, profile)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(settings, spec, note))
        seat = Seat(settings, profile, spec, note)
        desk = _Desk(settings, spec, profile, ledger, seat, note)
        stack.enter_context(desk)
        stack.enter_context(_keys(settings, seat, note))
        seconds = None if settings.minutes is None else settings.minutes * 60
        drive = drive_window(
            DriveSettings(game=settings.game, seconds=seconds, **settings.for_the_drive()),
            note,
            partial(_observers, seat, desk),
            seat.open,
            taken=True,
        )
        return desk.report(drive)


class Seat:
    """Who is at the wheel, and what watches them: the policy, the player, the recorder, the count.

    Args:
        settings: The run's.
        profile: Of the game.
        spec: Of the network.
        note: Is told what a person should know.
    """

    def __init__(self, settings: LiveSettings, profile: GameProfile, spec: ModelSpec, note: Note) -> None:
        self.policy = HotSwapPolicy(Nobody(spec), limit_s=0.9 / profile.rate_hz)
        self.player = Player(self.policy, settings.folder, partial(_open, settings.engine))
        header = EpisodeHeader(
            profile.name,
            "human",
            profile.rate_hz,
            profile_notes=profile.notes,
            axes=with_standard_axes(profile.axes),
        )
        self.recorder = LiveRecorder(settings.folder / EPISODES, header, lambda: self.policy.driver)
        self.interventions = Interventions()
        self._note = note
        self._told_of_first = False

    def open(self, profile: GameProfile) -> Policy:
        """Return what drives."""
        return self.policy

    def observers(self) -> list[TickObserver]:
        """Return what watches the drive."""
        return [self.recorder, self.player, self.interventions]

    def look(self) -> None:
        """Say it once when there are weights."""
        self.interventions.is_counting = self.player.round > 0
        if self.player.round and not self._told_of_first:
            self._told_of_first = True
            self._note("there are weights: give the wheel away, and take it back whenever they go wrong")


def _open(engine: str, weights: Path) -> Policy:
    # A small network is fastest on one core, and leaves the others to the game and the trainer.
    return policy_for(load_engine(engine, weights, 1 if is_small(weights) else None))


def _observers(seat: Seat, desk: "_Desk", stats: TickStats) -> Sequence[TickObserver]:
    desk.watch(stats)
    return seat.observers()


@contextmanager
def _keys(settings: LiveSettings, seat: Seat, note: Note) -> Iterator[None]:
    """Let two keys swap weights; note it if keys cannot be heard."""
    actions = {settings.newest_key: seat.player.take_newest, settings.back_key: seat.player.back}
    with ExitStack() as stack:
        try:
            stack.enter_context(Hotkeys(actions))
            newest, before = settings.newest_key.upper(), settings.back_key.upper()
            note(f"{newest} takes the newest weights at once, {before} goes back to those before")
        except ControllerError as exc:
            note(f"no keys for the weights: {exc}")
        yield


class _Desk:
    """Keeps the trainer going beside a drive, in a thread, and tells what becomes of it; a context manager."""

    def __init__(
        self,
        settings: LiveSettings,
        spec: ModelSpec,
        profile: GameProfile,
        ledger: Ledger,
        seat: Seat,
        note: Note,
    ) -> None:
        self._ledger = ledger
        self._seat = seat
        self._note = note
        self._told = Told()
        self._weights: Path | None = None
        self._stats: TickStats | None = None
        self.courtesy = Courtesy()
        self._said_s = time.monotonic()
        self._over = threading.Event()
        self._trainer = Keeper("trainer", run_trainer, (settings, spec, profile.mirrored), note)
        self._thread = threading.Thread(target=self._work, name="trainer's keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()
        end_trainer(self._trainer)

    def watch(self, stats: TickStats) -> None:
        """See whether the drive is late, from its timing."""
        self._stats = stats

    def report(self, drive: WindowDrive) -> AttendedReport:
        """Return what it came to."""
        counted = self._seat.interventions
        return AttendedReport(
            drive=drive,
            minutes=tuple(counted.minutes),
            interventions=counted.count,
            alone_s=counted.alone_s,
            samples=self._told.arrived,
            rounds=self._ledger.rounds,
            weights=self._weights,
            courtesy=self.courtesy,
            restarts=self._trainer.restarts,
        )

    def _work(self) -> None:
        while not self._over.wait(_LOOK_S):
            try:
                self._look()
            except AgentError as exc:  # the drive goes on with the weights that it has
                self._note(f"nothing is learnt any more: {exc}")
                return

    def _look(self) -> None:
        for message in self._trainer.hear():
            if isinstance(message, Told):
                self._told = message
                for line in message.notes:
                    self._note(line)
            elif isinstance(message, RoundEnd):
                self._ledger.end_round(message)
                self._weights = message.weights or self._weights
        self._seat.look()
        self._yield()
        if time.monotonic() - self._said_s > _SAID_EVERY_S:
            self._said_s = time.monotonic()
            self._note(self._describe())

    def _yield(self) -> None:
        """Pause the trainer while the drive is late."""
        if self._stats is None:
            return
        trains = self._told.state == "training"
        order = self.courtesy.look(time.monotonic(), self._stats.missed, self._stats.deadlines, trains)
        if order is not None:
            self._trainer.tell(order)

    def _describe(self) -> str:
        player, counted = self._seat.player, self._seat.interventions
        line = "you drive, no weights yet"
        if player.round:
            per_minute = counted.per_minute
            helped = "" if per_minute is None else f", {per_minute:.1f} interventions a minute"
            line = f"round {player.round} drives, {time.monotonic() - player.since_s:.0f} s old{helped}"
        starved = ""
        if self._told.state == "training" and self._told.processor_share < _STARVED:
            starved = " | the trainer is starved: the game and the drive leave it too little"
        elif self.courtesy.is_paused:
            starved = " | the trainer pauses: the drive is late"
        corrections = f" | corrections {self._told.corrections}" if self._told.corrections else ""
        return f"{line}{corrections} | {describe(self._told)}{starved}"
