"""``pace``: how evenly the loop keeps its rate here."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, progress_bar, say_json
from agent.settings.pace import PaceSettings

if TYPE_CHECKING:
    from agent.measuring.loop_jitter import Pace


def _run(settings: PaceSettings, invocation: Invocation) -> int:
    from agent.measuring.loop_jitter import measure_pace

    with progress_bar("turns") as bar:
        task = bar.add_task("", total=None)
        paces = measure_pace(settings, lambda turns: bar.update(task, advance=1, total=turns))
    if invocation.json:
        say_json({"period_s": 1.0 / settings.rate, "think_s": settings.think_ms / 1e3, "loops": [*map(asdict, paces)]})
    else:
        _print_table(paces)
    return EXIT_DONE


def _print_table(paces: "list[Pace]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("loop", "cores")
    for title in ("ticks", "period ms", "± ms", "p99 off ms", "worst ms", "missed"):
        table.add_column(title, justify="right")
    for pace in paces:
        times_s = (pace.period_mean_s, pace.period_sd_s, pace.error_p99_s, pace.error_max_s)
        milliseconds = (f"{time_s * 1e3:.3f}" for time_s in times_s)
        table.add_row(pace.loop, pace.condition, str(pace.ticks), *milliseconds, f"{pace.missed_share:.2%}")
    console = Console()
    console.width = max(console.width, 90)  # show every column in a log file too
    console.print(table)


COMMAND = Command(
    settings=PaceSettings,
    run=_run,
    example="python -m agent pace --with-others",
    json=JSON,
)
