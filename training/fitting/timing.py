"""Training for a stated time: how many steps fit into it, and when it is over.

::

    fit --minutes 20
      a new run:            time a few steps and a whole round, then plan the steps      plan()
      an interrupted run:   go on with the steps that were planned                       recorded()
      more minutes:         as many more steps, in proportion; PASSES do not count       recorded()
      before every round:   stop if there is no time for most of it                      Deadline
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TrainingError
from training.fitting.config import FitConfig
from training.fitting.folder import recorded_settings

if TYPE_CHECKING:
    from training.fitting.run import Run

ROUNDS = 10
"""Rounds of a run that is planned by time, at most. The first is kept after a tenth of it."""
LEAST_ROUNDS = 3
ROUNDS_SHARE = 0.2
"""Where validating takes more than this share of the time, there are fewer rounds."""
TRIAL_STEPS = 12
"""Steps that are timed. The first one, which compiles the network, is not counted."""
LEAST_STEPS = 40
"""Fewer steps than this teach a network nothing."""
PASSES = 4
"""How often a sample is seen, in the mean, at most: more is learning by heart. See ``docs/ten-minutes.md``."""
ENOUGH_STEPS = 1000
"""Fewer steps than this are not taken off, however few samples there are: a network needs them to learn at all."""
MARGIN = 0.95
"""Share of the time that is planned for: the rest is for a machine that has become slower."""


def plan(
    config: FitConfig,
    make_run: Callable[[FitConfig], "Run"],
    export: Callable[["Run", Any], object],
    started_s: float,
    samples: int,
    clock: Callable[[], float] = time.monotonic,
) -> FitConfig:
    """Time a few steps of a network that is then thrown away, and return the settings with the steps that fit.

    There are no more steps than the samples are good for, see :data:`PASSES`. The trial also validates and exports, so
    a network that cannot be exported is told before the first round.

    Args:
        config: Settings with ``minutes``.
        make_run: Makes a run from settings.
        export: Writes the run's averaged network into a folder.
        started_s: When the command began, on ``clock``.
        samples: How many there are to train on.
        clock: Seconds.

    Raises:
        TrainingError: If the time is too short for :data:`LEAST_STEPS` steps.
    """
    begun_s = clock()
    run = make_run(replace(config, steps=TRIAL_STEPS, steps_per_round=TRIAL_STEPS, warmup_steps=1))
    row = run.train_round(0, None, verbose=0)
    step_s = row["seconds_per_step"]
    trained_s = clock()
    with TemporaryDirectory(prefix="hoodcam-trial-") as folder:
        run.average()
        run.validate()
        export(run, folder)
    round_s = clock() - trained_s
    again_s = max(0.0, trained_s - begun_s - TRIAL_STEPS * step_s)  # building and compiling, once more
    left_s = config.minutes * 60 * MARGIN - (clock() - started_s) - again_s
    rounds = max(LEAST_ROUNDS, min(ROUNDS, math.floor(ROUNDS_SHARE * left_s / max(round_s, 1e-9))))
    steps = math.floor((left_s - rounds * round_s) / step_s)
    if steps < LEAST_STEPS:
        lacking_s = LEAST_STEPS * step_s + LEAST_ROUNDS * round_s - left_s
        needed = config.minutes + max(lacking_s, 0.0) / MARGIN / 60
        raise TrainingError(
            f"{config.minutes:g} minutes are too short here: a step takes {step_s:.2g} s, and a round {round_s:.2g} s "
            f"more. Give it {math.ceil(needed)} minutes and more, a smaller --width and --height, or --backbone "
            "pilotnet."
        )
    steps = min(steps, max(ENOUGH_STEPS, PASSES * samples // config.batch_size))
    each = max(1, steps // rounds)
    return replace(config, steps=each * rounds, steps_per_round=each, warmup_steps=min(config.warmup_steps, each))


def recorded(config: FitConfig) -> FitConfig | None:
    """Return the settings with the steps that the run in ``config.out`` has; None if there is no such run.

    If it was planned for fewer minutes, it gets as many more rounds as fit into the further ones.
    """
    try:
        if (theirs := recorded_settings(config.out)) is None:
            return None
        minutes, steps, each = float(theirs["minutes"]), int(theirs["steps"]), int(theirs["steps_per_round"])
        warmup_steps = int(theirs["warmup_steps"])
    except (TrainingError, OSError, ValueError, KeyError, TypeError):
        return None  # told by the comparison of the settings
    if not minutes or each < 1:
        return None
    rounds = max(1, round(steps / each * max(1.0, config.minutes / minutes)))
    return replace(config, steps=rounds * each, steps_per_round=each, warmup_steps=warmup_steps)


class Deadline:
    """When the time of a run is over.

    Args:
        config: Its settings; without ``minutes`` the time is never over.
        started_s: When the command began, on ``clock``.
        spent_s: Seconds that earlier commands spent on the same run.
        clock: Seconds.
    """

    def __init__(
        self,
        config: FitConfig,
        started_s: float,
        spent_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._end_s = started_s + config.minutes * 60 - spent_s if config.minutes else math.inf
        self._clock = clock
        self._round_s = 0.0
        self._last_s: float | None = None

    def is_over(self) -> bool:
        """Return whether there is no time left for most of another round; call it before each round."""
        now_s = self._clock()
        if self._last_s is not None:
            self._round_s = now_s - self._last_s
        self._last_s = now_s
        return self._last_s + 0.5 * self._round_s > self._end_s
