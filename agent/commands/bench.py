"""``bench``: the speed of every stage and engine on this machine."""

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, progress_bar, say_json
from agent.settings.bench import BenchSettings


def _run(settings: BenchSettings, invocation: Invocation) -> int:
    from rich.console import Console

    from agent.measuring.bench_session import measure_engines

    with progress_bar("turns") as bar:
        task = bar.add_task("turns", total=None)
        report = measure_engines(settings, lambda turns: bar.update(task, advance=1, total=turns), note)
    if invocation.json:
        say_json(report.to_dict())
    else:
        console = Console(markup=False)
        for part in report.render():
            console.print(part, highlight=False)
    if settings.plot is not None:
        report.plot(settings.plot)
    return EXIT_DONE


COMMAND = Command(
    settings=BenchSettings,
    run=_run,
    example="python -m agent bench --with-keras --plot bench.png",
    json=JSON,
)
