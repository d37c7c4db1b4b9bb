"""The trainer of a live training: a process of its own, killed and started again without loss."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.durable import replace_file
from agent.contract.errors import AgentError, TrainingError
from agent.contract.profile import Rectangle
from agent.contract.spec import ModelSpec
from agent.page.runs import BUFFERS
from training.data.buffers import EncodedSample
from training.data.fed import Fed
from training.live.arrivals import Arrivals
from training.live.config import LiveSettings
from training.live.handover import Handover, hand_over
from training.live.keeper import kept_going
from training.live.stock import CHUNK_SAMPLES, Stock

EPISODES = "episodes"
"""In a run's folder: everything that was driven."""
SAMPLES = "samples"
"""In a run's folder: the rotating copy of the samples."""
_A_STEP = 12  # samples that are taken in between two steps, at most
STATISTICS = 12
"""Batches that BatchNormalization's statistics are measured on: the newest ones that were trained on."""
_WAITING_S = 0.1
_TOLD_EVERY_S = 1.0
_WORSE = 1.05  # times the loss of the weights that drive: noise makes that much
_FEWEST_JUDGES = 40


@dataclass(slots=True)
class Told:
    """What the trainer says of itself.

    Attributes:
        state: ``waiting`` for samples, ``training``, or ``paused``.
        round: Rounds done.
        steps: Steps done.
        arrived: Samples to learn from that arrived.
        held_out: Samples to judge by that arrived.
        corrections: Corrections that count more.
        passes: How often each sample has been fed, on average.
        levels: Samples in each output's buffer.
        losses: Of each output in this round; divided by its variance, 1 is no better than the mean.
        samples_per_second: Drawn, since the last time.
        processor_share: Of a core, that the trainer got since the last time.
        handed_over: Round of the weights that were handed over last; 0: none.
        notes: What is to be said once.
    """

    state: str = "waiting"
    round: int = 0
    steps: int = 0
    arrived: int = 0
    held_out: int = 0
    corrections: int = 0
    passes: float = 0.0
    levels: dict[str, int] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    samples_per_second: float = 0.0
    processor_share: float = 0.0
    handed_over: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points for TensorBoard, of whoever has no writer.

    Attributes:
        step: Where they belong.
        values: By name, below ``drive/``.
    """

    step: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class RoundEnd:
    """What a round came to.

    Attributes:
        round: Its number.
        row: Of the log: steps, losses, metrics on what is held out, and what it cost; the columns are those of ``fit``.
        weights: The numbered folder that was handed over; None if none was.
    """

    round: int
    row: dict[str, float]
    weights: Path | None


class Trainer:
    """Takes samples from the episodes of a run, trains on them, and hands weights over after every round.

    Args:
        settings: The run's.
        spec: Of the network.
        mirrored: Parts of the picture that a flip mirrors.
        note: Is told what a person should know.
    """

    def __init__(
        self,
        settings: LiveSettings,
        spec: ModelSpec,
        mirrored: Sequence[Rectangle],
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        from training.fitting.board import Board
        from training.live.learner import Learner

        self._settings = settings
        self._note = note
        folder = settings.folder
        self.stock = Stock(
            spec.outputs,
            folder / SAMPLES,
            settings.seed,
            settings.buffer_size,
            settings.start,
            settings.corrections,
        )
        self._arrivals = Arrivals(folder / EPISODES, spec, self.stock.places)
        self.learner: Learner = Learner(settings, spec, mirrored)
        if self.learner.resume():
            stock = f"{len(self.stock)} samples in the buffers"
            note(f"the trainer goes on after round {self.learner.round}, with {stock}")
        self._outputs = spec.outputs
        self._fed = Fed(spec.outputs)  # of this round
        self.board = Board(folder / "tensorboard", self.learner.steps)
        self.losses: dict[str, float] = {}
        self.handed_over = 0
        self._batches: deque[list[EncodedSample]] = deque(maxlen=STATISTICS)  # the newest
        self._started_s = time.monotonic()
        self._steps = 0  # of this round
        self._full = False

    def take_in(self, most: int = _A_STEP) -> int:
        """Take samples that have arrived; return how many."""
        arrivals = self._arrivals.take(most)
        for arrival in arrivals:
            self.stock.add(arrival)
        if self.stock.unsaved >= CHUNK_SAMPLES:
            try:
                self.stock.save(self._arrivals.places)
            except TrainingError as exc:  # the training needs no disk to go on
                self._tell_of_the_disk(exc)
        return len(arrivals)

    def step(self) -> RoundEnd | None:
        """Do a step, and what ends a round after its last one.

        A round whose loss is not a number is thrown away.
        """
        from training.live.learner import LossError

        if self._steps == 0:
            self.learner.begin_round()
            self._started_s = time.monotonic()
            self._fed = Fed(self._outputs)
            self._scales = self.stock.scales
        self._batches.append(self.stock.draw(self._settings.batch_size))
        self._fed.add(np.stack([sample.labels for sample in self._batches[-1]]))
        try:
            self.losses = self.learner.step(self._batches[-1], self._scales)
        except LossError as exc:
            self.learner.throw_back()
            self._steps = 0
            self._note(f"{exc}: that round is thrown away, and the next one learns half as fast")
            return None
        self._steps += 1
        if self._steps < self._settings.steps_per_round:
            return None
        self._steps = 0
        return self._end_round()

    def save(self, samples: bool = False) -> None:
        """Keep what would be lost if the trainer were killed now.

        Args:
            samples: Write the last samples, too; a trainer that is killed reads them from the episodes again.
        """
        try:
            if samples:
                self.stock.save(self._arrivals.places)
            self.learner.save()
            self._full = False
        except TrainingError as exc:
            self._tell_of_the_disk(exc)

    def _end_round(self) -> RoundEnd:
        learner, stock = self.learner, self.stock
        learner.average(self._batches)
        learner.round += 1
        row, before = learner.judge(stock.judges, self._scales)
        loss = row["validation_loss"]
        weights = None
        worse = before is not None and len(stock.judges) >= _FEWEST_JUDGES and not loss <= _WORSE * before
        if worse and self._settings.hand_over == "better":
            self._note(
                f"round {learner.round} is worse on what is held out ({loss:.3f}) than the weights that drive "
                f"({before:.3f}): not handed over"
            )
        else:
            weights = self._hand_over(loss)
        seconds = time.monotonic() - self._started_s
        self._arrivals.forget_deleted()
        self.save()
        row = self._cost(seconds) | self._means() | row
        self.log("round", learner.steps, row)
        with suppress(OSError):  # the page shows the one before
            self._fed.write(self._settings.folder, learner.steps)
        return RoundEnd(learner.round, row, weights)

    def log(self, group: str, step: int, values: dict[str, float]) -> None:
        """Write points for TensorBoard."""
        self.board.step = step
        try:
            self.board.log(group, values)
        except OSError as exc:
            self._tell_of_the_disk(exc)

    def show_buffers(self, told: Told) -> None:
        """Write the state of the buffers down for the page."""
        shown = {name: value for name, value in asdict(told).items() if name not in ("losses", "notes")}
        shown |= {"capacity": self._settings.buffer_size, "at": time.time()}
        with suppress(OSError):  # the page says how old the one before is
            replace_file(self._settings.folder / BUFFERS, json.dumps(shown), sync=False)

    def _cost(self, seconds: float) -> dict[str, float]:
        samples = self._settings.steps_per_round * self._settings.batch_size
        return {
            "step": float(self.learner.steps),
            "arrived": float(self.stock.arrived),
            "samples": float(samples),
            "samples_per_second": samples / seconds,
            "training_seconds": seconds,
            "learning_rate": self.learner.learning_rate,
        }

    def _means(self) -> dict[str, float]:
        losses = {f"{name}_loss": loss for name, loss in self.losses.items()}
        return {"loss": sum(losses.values())} | losses

    def _hand_over(self, loss: float) -> Path | None:
        from training.data.samples import decode

        learner = self.learner
        probe = decode(self._batches[-1][0].picture)
        made = Handover(learner.round, learner.steps, self.stock.arrived, loss, time.time(), learner.answer(probe))
        try:
            weights = hand_over(self._settings.folder, made, probe, learner.export)
        except (OSError, AgentError) as exc:
            self._note(f"the weights of round {learner.round} could not be handed over ({exc}): the old ones drive on")
            return None
        learner.remember_handed_over()
        self.handed_over = learner.round
        return weights

    def _tell_of_the_disk(self, exc: Exception) -> None:
        if not self._full:
            self._full = True
            self._note(f"{exc} The training goes on; after a restart it would begin from what was kept before")


def run_trainer(
    link: "Connection[Any, Any]", settings: LiveSettings, spec: ModelSpec, mirrored: Sequence[Rectangle]
) -> None:
    """Train until the other end of the pipe is closed or says ``end``; what a :class:`Trainer`'s process runs.

    It takes ``pause``, ``go``, ``end`` and a :class:`Curve`. It sends a :class:`Told` every second and a
    :class:`RoundEnd` a round; its last word is an error's text, if one ends it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with kept_going(link, settings.nice):
        from training.network.keras_start import start_keras

        started_s = time.monotonic()
        start_keras()
        notes: list[str] = []
        trainer = Trainer(settings, spec, mirrored, notes.append)
        notes.append(f"the trainer is ready after {time.monotonic() - started_s:.1f} s")
        _Loop(link, trainer, notes).run()


class _Loop:
    """What the trainer's process does all the time."""

    def __init__(self, link: "Connection[Any, Any]", trainer: Trainer, notes: list[str]) -> None:
        self._link = link
        self._trainer = trainer
        self._notes = notes
        self._paused = self._ended = False
        self._told_s = time.monotonic()
        self._told_drawn = trainer.stock.drawn
        self._told_processor_s = time.process_time()

    def run(self) -> None:
        """Work until told to end.

        Raises:
            EOFError, OSError: If the other end is gone.
        """
        trainer = self._trainer
        while True:
            self._listen()
            if self._ended:
                trainer.save(samples=True)
                return
            taken = trainer.take_in()
            if self._paused:
                self._tell("paused")
                time.sleep(0.0 if taken else _WAITING_S)
            elif not trainer.stock.ready:
                self._tell("waiting")
                time.sleep(0.0 if taken else _WAITING_S)
            else:
                ended = trainer.step()
                self._tell("training")
                if ended is not None:
                    self._link.send(ended)

    def _listen(self) -> None:
        while self._link.poll():
            word = self._link.recv()
            if isinstance(word, Curve):
                self._trainer.log("drive", word.step, word.values)
            self._paused = word == "pause" or (self._paused and word != "go")
            self._ended = self._ended or word == "end"

    def _tell(self, state: str) -> None:
        now_s, processor_s = time.monotonic(), time.process_time()
        passed_s = now_s - self._told_s
        if passed_s < _TOLD_EVERY_S:
            return
        trainer, stock = self._trainer, self._trainer.stock
        told = Told(
            state=state,
            round=trainer.learner.round,
            steps=trainer.learner.steps,
            arrived=stock.arrived,
            held_out=stock.held_out,
            corrections=stock.corrections,
            passes=stock.passes,
            levels=stock.levels,
            losses=trainer.losses,
            samples_per_second=(stock.drawn - self._told_drawn) / passed_s,
            processor_share=(processor_s - self._told_processor_s) / passed_s,
            handed_over=trainer.handed_over,
            notes=list(self._notes),
        )
        self._notes.clear()
        trainer.show_buffers(told)
        self._told_s, self._told_drawn, self._told_processor_s = now_s, stock.drawn, processor_s
        self._link.send(told)
