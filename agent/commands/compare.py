"""``compare``: two drivers on the tracks that both drove."""

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import say
from agent.settings.compare import CompareSettings


def _run(settings: CompareSettings, invocation: Invocation) -> int:
    from agent.sessions.comparison import compare

    comparison = compare(settings)
    if invocation.json:
        say(comparison.to_json().rstrip())
    else:
        from rich.console import Console

        Console().print(comparison.table())
    return 0


COMMAND = Command(
    settings=CompareSettings,
    run=_run,
    example="python -m agent compare float.json --with int8.json",
    json=JSON,
)
