"""``replay``: runs the network over a recording."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, note, say, say_json
from agent.settings.replay import ReplaySettings

if TYPE_CHECKING:
    from agent.sessions.replay import ReplayReport


def _run(settings: ReplaySettings, invocation: Invocation) -> int:
    from agent.sessions.replay import replay_recording

    report, comparison = replay_recording(settings, note)
    if invocation.json:
        compared = None if comparison is None else {"passed": comparison.passed, **asdict(comparison)}
        say_json({**json.loads(report.to_json()), "comparison": compared})
    else:
        say(_describe_replay(report))
        if comparison is not None:
            say(comparison.message)
    return EXIT_DONE if comparison is None or comparison.passed else EXIT_ERROR


def _describe_replay(report: "ReplayReport") -> str:
    lines = [f"{report.episode}: {len(report.predictions)} frames, engine {report.engine}"]
    for name, output in report.outputs.items():
        correlation = "undefined" if output.correlation is None else f"{output.correlation:.3f}"
        lines.append(
            f"  {name}: mean error {output.mean_absolute_error:.4f}, largest {output.max_error:.4f} "
            f"(frame {output.max_error_row}), correlation {correlation}"
        )
    stages = ", ".join(f"{name} {stage.median_ms:.2f} / {stage.p99_ms:.2f}" for name, stage in report.stages.items())
    return "\n".join([*lines, f"  ms per frame, median / p99: {stages}"])


COMMAND = Command(
    settings=ReplaySettings,
    run=_run,
    example="python -m agent replay episodes/carracing-0.parquet --reference before.json",
    json=JSON,
)
