"""``collect``: record an expert, or label a network's driving."""

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, say
from training.collecting.config import CollectConfig
from training.commands.common import progress_bar


def _run(settings: CollectConfig, invocation: Invocation) -> int:
    from training.collecting.collect import collect

    returns: list[float] = []
    with progress_bar() as progress:
        task = progress.add_task("episodes", total=settings.episodes)

        def done(seed: int, episode_return: float) -> None:
            returns.append(episode_return)
            progress.advance(task)
            if not progress.console.is_terminal:
                note(f"track {seed}: return {episode_return:.1f}")

        paths = collect(settings, done)
    progress_text = f"{len(paths)} episodes in {settings.folder}, {len(returns)} of them new"
    mean = f", mean return of the new ones {sum(returns) / len(returns):.1f}" if returns else ""
    say(progress_text + mean)
    return EXIT_DONE


COMMAND = Command(
    settings=CollectConfig,
    run=_run,
    example="python -m training collect --out data/expert --episodes 60",
)
