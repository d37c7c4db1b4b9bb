"""``faults``: breaks a drive on purpose, and shows how soon the controls were neutral."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, EXIT_INTERRUPTED, note, progress_bar, say, say_json
from agent.settings.faults import FaultsSettings

if TYPE_CHECKING:
    from agent.measuring.faults.catalogue import Outcome


def _run(settings: FaultsSettings, invocation: Invocation) -> int:
    from agent.measuring.faults.catalogue import LIMIT_S, RATE_HZ
    from agent.measuring.faults.session import SENDS, chosen_faults, measure_faults

    if settings.list:
        for fault in chosen_faults(settings.only):
            say(f"{fault.name:14} {fault.what}; {'driving goes on' if fault.passes else 'ends the drive'}")
        return EXIT_DONE
    with progress_bar("faults") as bar:
        task = bar.add_task("", total=None)
        report = measure_faults(settings, lambda faults: bar.update(task, advance=1, total=faults))
    if invocation.json:
        say_json(report.to_dict())
    else:
        _print_table(report.rows)
        if report.guard_latency_s:
            figures = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in report.guard_latency_s.items())
            say(
                f"the guard passes controls on after {figures} ({SENDS} times, {RATE_HZ:.0f} a second; "
                f"{report.expired} expired on their way)"
            )
        say(
            f"{len(report.outcomes)} faults injected, {len(report.broken)} that broke the promise "
            f"(neutral within {LIMIT_S:g} s)"
        )
    for outcome in report.broken:
        note(f"broken: {outcome.fault}: {_describe(outcome)}")
        for line in outcome.said.splitlines():
            note(f"  it said: {line}")
    if report.problem:
        note(f"ended early: {report.problem}")
    if report.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_ERROR if report.broken or report.problem else EXIT_DONE


def _describe(outcome: "Outcome") -> str:
    if math.isinf(outcome.neutral_s):
        return "the pad was never neutral"
    if outcome.drove_on is False:
        return "driving did not go on"
    return f"neutral after {outcome.neutral_s * 1e3:.0f} ms"


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("fault", "what is done")
    for title in ("times", "p50 ms", "p99 ms", "worst ms", "drove on"):
        table.add_column(title, justify="right")
    for row in rows:
        milliseconds = (f"{row[f'neutral_after_{name}_s'] * 1e3:.0f}" for name in ("p50", "p99", "max"))
        drove_on = "-" if row["drove_on"] is None else str(row["drove_on"])
        style = "red" if row["broken"] else None
        table.add_row(row["name"], row["what"], str(row["injected"]), *milliseconds, drove_on, style=style)
    console = Console()
    console.width = max(console.width, 120)  # keep each row on one line, in a log file too
    console.print(table)


COMMAND = Command(
    settings=FaultsSettings,
    run=_run,
    example="python -m agent faults --count 1000",
    notes=(
        "The loop, the screen source and the guard are those of every drive. The window, the network and the pad's\n"
        "device are replaced, so no display, game or pad is needed. It takes about a second for each fault.\n"
        "exit code: 0 if every fault was injected and left the pad neutral within 200 ms, 1 otherwise."
    ),
    json=JSON,
)
