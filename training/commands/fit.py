"""``fit``: train a network."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, say
from training.commands.common import progress_bar
from training.fitting.ending import best_round, describe_end
from training.fitting.settings import FitSettings


def _run(settings: FitSettings, invocation: Invocation) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes are not ours
    from training.sessions.fit import train

    with _preprocessing_bar() as preprocessed:
        result = train(settings, note, preprocessed, 2 if settings.quiet else 1, invocation.arguments)
    if not settings.worker:
        for line in describe_end(result, settings.game):
            note(line)
        number = best_round(result.history)
        best = {} if number is None else {"best_round": number, "best": _finite(result.history[number - 1])}
        if not sys.stdout.isatty():  # for programs: a person has just been told
            say(json.dumps({"model": str(result.model)} | best | {"last": _finite(result.history[-1])}))
    return EXIT_DONE


def _finite(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if math.isfinite(value)}


@contextmanager
def _preprocessing_bar() -> Iterator[Callable[[int, int], None]]:
    """Lend a function that shows (done, total) as a bar, which is gone before Keras draws its own."""
    progress = progress_bar()
    task = progress.add_task("episodes")

    def preprocessed(done: int, total: int) -> None:
        if done == 0:
            progress.start()
        progress.update(task, completed=done, total=total)
        if done == total:
            progress.stop()

    try:
        yield preprocessed
    finally:
        progress.stop()


COMMAND = Command(
    settings=FitSettings,
    run=_run,
    example="python -m training fit --data data/expert --out runs/first --width 240 --height 135",
)
