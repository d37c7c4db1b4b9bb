"""``report``: several runs' curves."""

import json

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, say
from training.fitting.report_settings import ReportSettings


def _run(settings: ReportSettings, invocation: Invocation) -> int:
    from rich.console import Console

    from training.fitting.report import load_runs, to_dict
    from training.fitting.report_output import print_report, write_report

    runs = load_runs(settings.runs)
    if settings.out is not None:
        write_report(runs, settings.out, settings.by)
    if invocation.json:
        say(json.dumps(to_dict(runs), indent=2, allow_nan=False))
    else:
        print_report(runs, Console(highlight=False))
    if settings.out is not None:
        note(f"wrote {settings.out}")
    return EXIT_DONE


COMMAND = Command(
    settings=ReportSettings,
    run=_run,
    example="python -m training report runs/*/ --out report.html --by seconds",
    json="print JSON instead of tables",
)
