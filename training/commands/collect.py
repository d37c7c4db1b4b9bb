"""``collect``: record an expert, or label a network's driving."""

import sys

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE
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
                print(f"track {seed}: return {episode_return:.1f}", file=sys.stderr)  # noqa: T201

        paths = collect(settings, done)
    progress_text = f"{len(paths)} episodes in {settings.folder}, {len(returns)} of them new"
    mean = f", mean return of the new ones {sum(returns) / len(returns):.1f}" if returns else ""
    print(progress_text + mean)  # noqa: T201
    return EXIT_DONE


COMMAND = Command(
    name="collect",
    summary="record the expert's driving, or label the network's (DAgger)",
    settings=CollectConfig,
    run=_run,
    example="python -m training collect --out data/expert --episodes 60",
)
