"""A live training with games that wait: collectors, trainer and evaluator side by side, until it drives well enough."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.contract.episodes.columns import SEALED_SUFFIX
from agent.contract.profile import GameProfile
from agent.contract.spec import ModelSpec, outputs_named
from training.collecting.courses import check_game, find_trained_game
from training.live.collector import Driven, run_collector
from training.live.config import LiveSettings
from training.live.evaluator import BEST, Judged, read_drives, run_evaluator
from training.live.keeper import Keeper
from training.live.ledger import Ledger
from training.live.trainer import EPISODES, Curve, RoundEnd, Told, run_trainer

Note = Callable[[str], None]

_INTERRUPTED = "Ctrl-C"
_LOOK_S = 0.1
_SAID_EVERY_S = 30.0
_PRUNED_EVERY_S = 20.0
_SEALING_S = 3.0  # for a collector to seal its episode
_PATIENCE_S = 20.0  # for the trainer to keep what it has


@dataclass(frozen=True, slots=True)
class LiveReport:
    """How a live training ended.

    Attributes:
        model: Folder of the weights that drove best; None if none was driven.
        best: Their mean return; None if none was driven.
        reason: Why it ended.
        minutes: It took, this time.
        episodes: Recorded this time.
        samples: Samples that arrived, before a restart too.
        rounds: Of the trainer, in all.
        drives: How weights drove, oldest first.
        restarts: How often a part had to be started again.
    """

    model: Path | None
    best: float | None
    reason: str
    minutes: float
    episodes: int
    samples: int
    rounds: int
    drives: tuple[Judged, ...]
    restarts: int

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.reason == _INTERRUPTED

    @property
    def problems(self) -> tuple[str, ...]:
        """Outputs that are missing: none, each part is started again or ends the training."""
        return ()

    @property
    def fault(self) -> str | None:
        """What ended a drive on the way: nothing, no drive is live."""
        return None

    def describe(self) -> list[str]:
        """Return what it came to, a line each."""
        lines = [f"{self.reason}: {self.minutes:.1f} minutes, {self.episodes} episodes, {self.samples} samples"]
        if self.best is not None:
            lines.append(f"{self.model}: mean return {self.best:.1f} on the tracks that nothing was learnt from")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "model": None if self.model is None else str(self.model)}


def live_spec(settings: LiveSettings, profile: GameProfile) -> ModelSpec:
    """Return what the network of a live training is."""
    return ModelSpec(
        name=profile.name,
        backbone=settings.backbone,
        game=profile.name,
        width_px=settings.width_px,
        height_px=settings.height_px,
        rate_hz=profile.rate_hz,
        outputs=outputs_named(profile.axes),
        masks=profile.masks,
    )


def learn_unattended(settings: LiveSettings, note: Note = lambda line: None) -> LiveReport:
    """Collect, train and evaluate at the same time, until it is told to end, by settings or Ctrl-C.

    Args:
        settings: The run; one in the same folder goes on.
        note: Is told of progress, a line at a time.

    Raises:
        TrainingError: If nothing can be collected from the game, the folder holds another run, or a part fails again
            and again.
    """
    check_game(settings.game)
    profile = find_trained_game(settings.game).profile
    spec = live_spec(settings, profile)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(settings, spec, note))
        work = _Work(settings, ledger, note)
        stack.callback(work.end)
        mirrored = profile.mirrored
        work.start(spec, mirrored)
        reason = _INTERRUPTED
        try:
            reason = work.run()
        except KeyboardInterrupt:
            note("ending: the trainer keeps what it has")
        return work.report(reason)


class _Work:
    """The processes, and what comes of them."""

    def __init__(self, settings: LiveSettings, ledger: Ledger, note: Note) -> None:
        self._settings = settings
        self._ledger = ledger
        self._note = note
        self._started_s = self._said_s = self._pruned_s = time.monotonic()
        self._episodes = 0
        self._told = Told()
        self._drives = read_drives(settings.folder)
        self._keepers: dict[str, Keeper] = {}

    def start(self, spec: ModelSpec, mirrored: Any) -> None:
        """Start the parts."""
        settings, note = self._settings, self._note
        self._keepers["trainer"] = Keeper("trainer", run_trainer, (settings, spec, mirrored), note)
        for index in range(settings.collectors):
            name = f"collector {index + 1}"
            self._keepers[name] = Keeper(name, run_collector, (settings, index), note)
        if settings.tracks:
            self._keepers["evaluator"] = Keeper("evaluator", run_evaluator, (settings,), note)

    def run(self) -> str:
        """Work until there is a reason to end; return it."""
        while True:
            for keeper in self._keepers.values():
                for message in keeper.hear():
                    self._take(message)
            reason = self._reason()
            if reason:
                return reason
            self._say()
            if time.monotonic() - self._pruned_s > _PRUNED_EVERY_S:
                self._pruned_s = time.monotonic()
                prune(self._settings.folder / EPISODES, self._settings.episodes_gb * 1e9)
            time.sleep(_LOOK_S)

    def end(self) -> None:
        """End all parts, the trainer once it has kept what it has."""
        others = [keeper for name, keeper in self._keepers.items() if name != "trainer"]
        for keeper in others:
            keeper.tell("end")
        for keeper in others:
            keeper.end(_SEALING_S)
        if "trainer" in self._keepers:
            end_trainer(self._keepers["trainer"])

    def report(self, reason: str) -> LiveReport:
        """Return what it came to."""
        best = max(self._drives, key=lambda each: each.mean, default=None)
        return LiveReport(
            model=None if best is None else self._settings.folder / BEST,
            best=None if best is None else best.mean,
            reason=reason,
            minutes=(time.monotonic() - self._started_s) / 60,
            episodes=self._episodes,
            samples=self._told.arrived,
            rounds=self._ledger.rounds,
            drives=tuple(self._drives),
            restarts=sum(keeper.restarts for keeper in self._keepers.values()),
        )

    def _take(self, message: Any) -> None:
        if isinstance(message, Told):
            self._told = message
            for line in message.notes:
                self._note(line)
        elif isinstance(message, RoundEnd):
            self._ledger.end_round(message)
        elif isinstance(message, Driven):
            self._episodes += 1
        elif isinstance(message, Judged):
            self._drives.append(message)
            self._ledger.judge(message)
            self._keepers["trainer"].tell(Curve(message.steps, {"return": message.mean}))
            minutes = (time.monotonic() - self._started_s) / 60
            self._note(
                f"round {message.round} drives {message.mean:.0f} ({', '.join(f'{r:.0f}' for r in message.returns)}) "
                f"after {minutes:.1f} minutes, {message.samples} samples"
                f"{', the best so far' if message.is_best else ''}"
            )

    def _reason(self) -> str:
        settings, drives = self._settings, self._drives
        if settings.minutes is not None and time.monotonic() - self._started_s > settings.minutes * 60:
            return f"{settings.minutes:g} minutes are over"
        if not drives:
            return ""
        best = max(range(len(drives)), key=lambda index: drives[index].mean)
        if settings.until is not None and drives[best].mean >= settings.until:
            return f"a mean return of {settings.until:g} is reached"
        if settings.patience and len(drives) - 1 - best >= settings.patience:
            return f"no better return in {settings.patience} drives"
        return ""

    def _say(self) -> None:
        if time.monotonic() - self._said_s < _SAID_EVERY_S:
            return
        self._said_s = time.monotonic()
        self._note(describe(self._told) + f" | episodes {self._episodes}")


def end_trainer(trainer: Keeper) -> None:
    """End the trainer, once it has kept what it has."""
    trainer.tell("end")
    until_s = time.monotonic() + _PATIENCE_S
    while trainer.is_alive and time.monotonic() < until_s:
        trainer.drain()
        time.sleep(_LOOK_S)
    trainer.end()


def describe(told: Told) -> str:
    """Return what the trainer does, in one line."""
    levels = " ".join(f"{name} {count}" for name, count in told.levels.items()) or "empty"
    losses = " ".join(f"{name} {loss:.2f}" for name, loss in told.losses.items()) or "none yet"
    return (
        f"{told.state} | round {told.round} | samples {told.arrived}, each fed {told.passes:.1f} times, "
        f"{told.samples_per_second:.0f}/s | buffers {levels} | losses {losses} | "
        f"trainer {told.processor_share:.0%} of a core"
    )


def prune(folder: Path, most_bytes: float) -> int:
    """Delete the oldest episodes of a folder beyond a size; return how many. The newest is always kept.

    The newest one has the highest track, as the collectors name them. The time of a file says less: a clock may be set
    back. Episodes of other names are left alone.
    """
    if not math.isfinite(most_bytes):
        return 0
    found = []
    for path in folder.glob(f"*{SEALED_SUFFIX}"):
        track = path.stem.rpartition("-")[2]
        if track.isdecimal():
            found.append((int(track), path.stat().st_size, path))
    found.sort(reverse=True)
    total, deleted = 0.0, 0
    for place, (_, size, path) in enumerate(found):
        total += size
        if place and total > most_bytes:
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted
