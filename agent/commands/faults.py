"""``faults``: harms a drive on purpose, and shows how soon the controls were neutral."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, EXIT_INTERRUPTED, note, progress_bar, say, say_json
from agent.contract.errors import GameError
from agent.settings.faults import FaultsSettings

if TYPE_CHECKING:
    from agent.measuring.faults.catalogue import Fault, Outcome

_SENDS = 300


def _run(settings: FaultsSettings, invocation: Invocation) -> int:
    from agent.measuring.faults.catalogue import LIMIT_S, RATE_HZ
    from agent.measuring.faults.guard_latency import guard_latencies_s
    from agent.measuring.faults.injection import inject

    faults = _chosen(settings.only)
    if settings.list:
        for fault in faults:
            say(f"{fault.name:14} {fault.what}; {'driving goes on' if fault.passes else 'ends the drive'}")
        return EXIT_DONE
    times = math.ceil(settings.count / len(faults))
    outcomes: list[Outcome] = []
    latencies_s: list[float] = []
    interrupted = False
    with progress_bar("faults") as bar:
        task = bar.add_task("", total=times * len(faults))
        try:
            for outcome in inject(faults, times):
                outcomes.append(outcome)
                bar.advance(task)
            latencies_s = guard_latencies_s(_SENDS)
        except KeyboardInterrupt:
            interrupted = True
    broken = [outcome for outcome in outcomes if not outcome.kept]
    rows = [row for fault in faults if (row := _row(fault, outcomes))]
    latency_s = _percentiles(latencies_s) if latencies_s else {}
    expired = _SENDS - len(latencies_s)
    if invocation.json:
        facts = {"limit_s": LIMIT_S, "injected": len(outcomes), "broken": len(broken), "interrupted": interrupted}
        say_json({**facts, "guard_latency_s": {**latency_s, "expired": expired} if latency_s else None, "faults": rows})
    else:
        _print_table(rows)
        if latency_s:
            figures = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in latency_s.items())
            say(
                f"the guard passes controls on after {figures} ({_SENDS} times, {RATE_HZ:.0f} a second; "
                f"{expired} expired on their way)"
            )
        say(f"{len(outcomes)} faults injected, {len(broken)} that broke the promise (neutral within {LIMIT_S:g} s)")
    for outcome in broken:
        note(f"broken: {outcome.fault}: {_describe(outcome)}")
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_ERROR if broken else EXIT_DONE


def _chosen(names: Sequence[str] | None) -> "tuple[Fault, ...]":
    from agent.measuring.faults.catalogue import available

    faults = available()
    if names is None:
        return faults
    known = {fault.name: fault for fault in faults}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise GameError(f"fault {unknown[0]!r} is unknown, expected one of: {', '.join(known)}.")
    return tuple(known[name] for name in names)


def _row(fault: "Fault", outcomes: "Sequence[Outcome]") -> dict[str, Any] | None:
    mine = [outcome for outcome in outcomes if outcome.fault == fault.name]
    if not mine:
        return None
    away_s = [outcome.neutral_s for outcome in mine if math.isfinite(outcome.neutral_s)] or [0.0]
    return {
        "name": fault.name,
        "what": fault.what,
        "injected": len(mine),
        "broken": sum(not outcome.kept for outcome in mine),
        "never_neutral": sum(math.isinf(outcome.neutral_s) for outcome in mine),
        "drove_on": sum(outcome.drove_on is True for outcome in mine) if fault.passes else None,
        **{f"neutral_after_{name}_s": seconds for name, seconds in _percentiles(away_s).items()},
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    import numpy as np

    return {
        "p50": float(np.percentile(seconds, 50)),
        "p99": float(np.percentile(seconds, 99)),
        "max": float(max(seconds)),
    }


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
    console.width = max(console.width, 120)  # its rows are for reading side by side, in a log file too
    console.print(table)


COMMAND = Command(
    name="faults",
    summary="harm a drive in every way we know, and measure how soon the gamepad is neutral",
    settings=FaultsSettings,
    run=_run,
    example="python -m agent faults --count 1000",
    notes=(
        "The loop, the screen source and the guard are those of every drive; window, network and the pad's far end\n"
        "are made for it, so that it needs no display, no game and no pad. It takes about a second a fault.\n"
        "exit code: 0 if every fault left the pad neutral within 200 ms, 1 otherwise."
    ),
    json=JSON,
)
