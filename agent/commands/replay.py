"""``replay``: the network over a recording."""

import argparse
import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.options import add_command, add_engine_options, add_json_option, not_negative
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, make_engine, note, say, say_json

if TYPE_CHECKING:
    from agent.sessions.replay import ReplayReport


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "replay",
        _run,
        "run the network over a recording: errors, correlations, stage times",
        "python -m agent replay episodes/carracing-0.parquet --reference before.json",
    )
    parser.add_argument("episode", type=Path, metavar="EPISODE", help="a .parquet, or a .recording left by a kill")
    add_engine_options(parser, game=False)
    reference = parser.add_mutually_exclusive_group()
    reference.add_argument(
        "--reference", type=Path, metavar="FILE", help="compare with these predictions; exit 1 where they differ"
    )
    reference.add_argument(
        "--write-reference", type=Path, metavar="FILE", help="store the predictions for later comparisons"
    )
    parser.add_argument(
        "--tolerance",
        type=not_negative,
        metavar="X",
        help="largest accepted difference of any output, in the outputs' own units (default: 0.001 where the engine "
        "computes in float32, 0.02 in bfloat16, 0.1 in int8)",
    )
    add_json_option(parser)


def _run(arguments: argparse.Namespace) -> int:
    from agent.contract.episodes.reading import Episode
    from agent.sessions.replay import compare_with_reference, replay, save_reference

    episode = Episode.open(arguments.episode)
    if episode.recovered:
        note(episode.recovered)
    with closing(make_engine(arguments, episode.header.game)) as engine:
        report = replay(episode, engine)
        spec = engine.spec
    if arguments.write_reference is not None:
        save_reference(arguments.write_reference, report, spec)
    comparison = None
    if arguments.reference is not None:
        comparison = compare_with_reference(arguments.reference, report, arguments.tolerance)
    if arguments.json:
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
