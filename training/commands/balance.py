"""``balance``: shows what each balancing rule would feed the network."""

import json

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, say
from training.commands.common import progress_bar
from training.data.config import BalanceSettings


def _run(settings: BalanceSettings, invocation: Invocation) -> int:
    from rich.console import Console

    from training.data.balance_report import draw_report, print_report
    from training.sessions.balance import measure_balance

    with progress_bar() as progress:
        task = progress.add_task("episodes", total=None)
        report = measure_balance(settings, lambda total: progress.update(task, advance=1, total=total))
    if invocation.json:
        say(json.dumps(report.to_dict(), indent=2))
    else:
        print_report(report, Console(highlight=False))
    if settings.out is not None:
        draw_report(report, settings.out)
        note(f"wrote {settings.out}")
    return EXIT_DONE


COMMAND = Command(
    settings=BalanceSettings,
    run=_run,
    example="python -m training balance data/expert --out balance.png",
    json="print JSON instead of tables",
)
