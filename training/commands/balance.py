"""``balance``: what each balancing rule would feed the network."""

import json

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE
from training.commands.common import progress_bar, tell
from training.data.balancing.registry import RULE_NAMES
from training.data.config import BalanceSettings


def _run(settings: BalanceSettings, invocation: Invocation) -> int:
    from rich.console import Console

    from agent.contract.spec import STEERING_THROTTLE_BRAKE
    from training.data.balance_report import draw_report, print_report, read_labels, report_balance
    from training.data.samples import find_episodes

    paths = [
        path for entry in settings.data for path in ([entry] if entry.suffix == ".parquet" else find_episodes([entry]))
    ]
    with progress_bar() as progress:
        task = progress.add_task("episodes", total=len(paths))
        labels = read_labels(paths, lambda: progress.advance(task))
    rule_names = RULE_NAMES if settings.rule == "all" else (settings.rule,)
    report = report_balance(labels, STEERING_THROTTLE_BRAKE, rule_names, len(paths))
    if invocation.json:
        print(json.dumps(report.to_dict(), indent=2))  # noqa: T201
    else:
        print_report(report, Console(highlight=False))
    if settings.out is not None:
        draw_report(report, settings.out)
        tell(f"wrote {settings.out}")
    return EXIT_DONE


COMMAND = Command(
    name="balance",
    summary="show what each balancing rule would feed, before training on it",
    settings=BalanceSettings,
    run=_run,
    example="python -m training balance data/expert --out balance.png",
    json="print JSON instead of tables",
)
