"""What a training has come to, in words: at its end, and where it is interrupted."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.data.advice import describe_skill
from training.fitting.config import FitConfig

if TYPE_CHECKING:
    from training.fitting.run import FitResult, Row

_SKILL = "_correlation"


def best_round(history: "Sequence[Row]") -> int | None:
    """Return the number, from 1, of the round whose model is ``best``; None if no round has a score."""
    scores = {number: row.get("score", math.nan) for number, row in enumerate(history, 1)}
    known = {number: score for number, score in scores.items() if not math.isnan(score)}
    return max(known, key=lambda number: (known[number], -number)) if known else None


def describe_end(result: "FitResult", game: str) -> list[str]:
    """Return which round's model is kept, what is wrong with it, and what to do next; a line each."""
    number = best_round(result.history)
    if number is None:
        return []
    best, last = result.history[number - 1], result.history[-1]
    judged = f"validation loss {best['validation_loss']:.3g}, of {result.mean_loss:.3g} that the mean would have"
    if not math.isnan(best.get("return", math.nan)):
        judged = f"return {best['return']:.0f}, {judged}"
    lines = [f"{result.model} is round {number} of {len(result.history)}: {judged}"]
    lines += describe_skill([name.removesuffix(_SKILL) for name in best if name.endswith(_SKILL)], best)
    if last["validation_loss"] > result.mean_loss:
        lines.append(
            f"the validation loss ends at {_figure(last['validation_loss'])}, worse than predicting the mean "
            f"({result.mean_loss:.3g}): lower --learning-rate, or train for more --steps if it was falling"
        )
    lines.append(f"next: python -m agent drive --game {game} --weights {result.model}")
    return lines


def describe_interrupted(config: FitConfig, history: "Sequence[Row]", best_is_part: bool = False) -> str:
    """Return what is kept of a run that is interrupted in the round after these.

    Args:
        config: The run's.
        history: The rounds that were finished.
        best_is_part: Whether the model is the interrupted round's.
    """
    steps = min(config.steps_per_round, config.steps)
    if best_is_part:
        learnt = f"{config.out / 'best'} is what was learnt up to now"
        if history:
            return f"{learnt}; the same command goes on after {len(history)} of {config.rounds} rounds"
        return (
            f"{learnt}, but the same command begins again: the first round ends after step {steps}. Lower "
            "--steps-per-round to go on sooner"
        )
    if not history:
        return (
            f"nothing is kept yet: the first round ends after step {steps}. Lower --steps-per-round to keep some sooner"
        )
    model: Path = config.out / "best"
    return (
        f"{len(history)} of {config.rounds} rounds are kept; {model} is round {best_round(history)}, and what was done "
        "since the last round is lost"
    )


def describe_estimate(config: FitConfig, done: int, step_s: float) -> str:
    """Return how long a run will take.

    Args:
        config: The run's.
        done: Steps done so far.
        step_s: Seconds a step.
    """
    left = config.steps - done
    round_s = min(config.steps_per_round - done % config.steps_per_round, left) * step_s
    return (
        f"about {_minutes(left * step_s)} for {left} steps, {step_s:.2g} s each, and a little for validation; this "
        f"round is kept after about {_minutes(round_s)}"
    )


def _figure(loss: float) -> str:
    return f"{loss:,.0f}" if loss >= 1000 else f"{loss:.3g}"


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"
