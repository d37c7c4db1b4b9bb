"""``doctor``: checks what this machine needs in order to drive."""

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, note, say, say_json
from agent.settings.doctor import DoctorSettings

_COLOURS = {"OK": "green", "warning": "yellow", "failed": "red"}


def _run(settings: DoctorSettings, invocation: Invocation) -> int:
    from rich.console import Console
    from rich.markup import escape

    from agent.measuring.doctor import Finding, diagnose

    findings: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    for finding in diagnose(settings, note):
        findings.append(finding)
        if not invocation.json:
            colour = _COLOURS[finding.verdict]
            console.print(f"[{colour}]{finding.verdict:8}[/] {finding.name:9} {escape(finding.text)}")
    failed = [finding.name for finding in findings if finding.verdict == "failed"]
    if invocation.json:
        rows = [{"name": found.name, "verdict": found.verdict, "text": found.text} for found in findings]
        say_json({"game": settings.game, "findings": rows, "failed": failed})
    else:
        say(f"failed: {', '.join(failed)}" if failed else "nothing failed")
    return EXIT_ERROR if failed else EXIT_DONE


COMMAND = Command(
    settings=DoctorSettings,
    run=_run,
    example="python -m agent doctor --game gta5 --picture seen.png",
    notes="exit code: 0 if nothing failed, 1 otherwise; warnings do not count.",
    json=JSON,
)
