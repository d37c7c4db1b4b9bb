"""``report``: several runs' curves."""

import json

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE
from training.commands.common import tell
from training.fitting.config import ReportSettings


def _run(settings: ReportSettings, invocation: Invocation) -> int:
    from rich.console import Console

    from training.fitting.report import load_runs, print_report, to_dict, write_report

    runs = load_runs(settings.runs)
    if settings.out is not None:
        write_report(runs, settings.out, settings.by)
    if invocation.json:
        print(json.dumps(to_dict(runs), indent=2, allow_nan=False))  # noqa: T201
    else:
        print_report(runs, Console(highlight=False))
    if settings.out is not None:
        tell(f"wrote {settings.out}")
    return EXIT_DONE


COMMAND = Command(
    name="report",
    summary="lay the curves of several runs over each other, and list their last and best rounds",
    settings=ReportSettings,
    run=_run,
    example="python -m training report runs/*/ --out report.html --by seconds",
    json="print JSON instead of tables",
)
