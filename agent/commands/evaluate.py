"""``evaluate``: drives many tracks and summarises the results."""

from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import exit_code, note, progress_bar, say, say_json
from agent.settings.evaluate import EvaluateSettings

if TYPE_CHECKING:
    from agent.sessions.evaluation import TrackResult


def _run(settings: EvaluateSettings, invocation: Invocation) -> int:
    from rich.console import Console
    from rich.progress import TextColumn

    from agent.sessions.evaluate import evaluate

    returns: list[float] = []
    bar = progress_bar("tracks", TextColumn("{task.fields[mean]}"))
    task = bar.add_task("tracks", total=None, mean="")

    def progress(result: "TrackResult", tracks: int) -> None:
        returns.append(result.episode_return)
        mean = sum(returns) / len(returns)
        bar.update(task, advance=1, total=tracks, mean=f"mean {mean:.1f}, last {result.episode_return:.1f}")
        if not bar.console.is_terminal:
            done = f"{len(returns)} of {tracks}, mean {mean:.1f}"
            note(f"track {result.track or result.seed}: return {result.episode_return:.1f} ({done})")

    with bar:
        evaluation = evaluate(settings, progress, note)
    if invocation.json:
        say_json(evaluation.to_dict())
    else:
        Console().print(evaluation.report.table())
        for track in evaluation.report.tracks:
            for problem in track.problems:
                say(f"track {track.seed}: {problem}")
    return exit_code(evaluation.interrupted, evaluation.problems)


COMMAND = Command(
    settings=EvaluateSettings,
    run=_run,
    example="python -m agent evaluate --tracks 100 --seed-start 500000 --json",
    json=JSON,
)
