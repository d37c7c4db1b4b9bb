"""``occlusion``: what in a picture the network goes by."""

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.commands.numbers import at_least_one
from agent.commands.options import add_command, add_engine_options, add_json_option, png_path
from agent.commands.wiring import EXIT_DONE, make_engine, progress_bar, say, say_json
from agent.contract.errors import EpisodeError, ReportError

if TYPE_CHECKING:
    from agent.measuring.occlusion import Occlusion


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "occlusion",
        _run,
        "what the network looks at: parts of pictures covered in turn, drawn as a map",
        "python -m agent occlusion episodes/carracing-0.parquet --out seen.png",
    )
    parser.add_argument("episodes", type=Path, nargs="+", metavar="EPISODE", help="recordings, all of one game")
    parser.add_argument("--out", type=png_path, metavar="FILE", help="draw the map of one output over a picture (.png)")
    parser.add_argument("--output", default="steering", metavar="NAME", help="whose map (default: steering)")
    parser.add_argument(
        "--pictures", type=at_least_one, default=40, metavar="N", help="to look at, 145 passes each (default: 40)"
    )
    add_engine_options(parser, game=False)
    add_json_option(parser)
    parser.epilog = (
        "Bright in the map is where covering changes the prediction most. Something bright that is no road (a map, a\n"
        "clock, a place in the scenery) is what the network knows its way by: hide it with a mask in the game's\n"
        f"profile and train again, and it has to look at the road.\n{parser.epilog}"
    )


def _run(arguments: argparse.Namespace) -> int:
    import cv2

    from agent.contract.episodes.reading import Episode
    from agent.measuring.occlusion import study

    episodes = [Episode.open(path) for path in arguments.episodes]
    games = sorted({episode.header.game for episode in episodes})
    if len(games) > 1:
        raise EpisodeError(f"the episodes are of {' and '.join(games)}, expected one game. Pass those of one.")
    with closing(make_engine(arguments, games[0])) as engine:
        names = [output.name for output in engine.spec.outputs]
        if arguments.output not in names:
            raise ReportError(f"--output {arguments.output} is unknown, expected one of: {', '.join(names)}.")
        with progress_bar("pictures") as bar:
            task = bar.add_task("", total=min(arguments.pictures, sum(len(episode) for episode in episodes)))
            found = study(episodes, engine, arguments.pictures, lambda: bar.advance(task))
    if arguments.out is not None:
        try:
            arguments.out.write_bytes(cv2.imencode(".png", found.draw(names.index(arguments.output)))[1].tobytes())
        except OSError as exc:
            raise ReportError(
                f"{arguments.out} cannot be written ({exc.strerror}), expected a folder that may be written. "
                "Choose another --out."
            ) from exc
    if arguments.json:
        say_json(
            {
                "pictures": found.pictures,
                "change": {name: found.change[:, :, k].round(5).tolist() for k, name in enumerate(names)},
                "spread": {name: float(found.spread[k]) for k, name in enumerate(names)},
            }
        )
    else:
        say(_describe(found, names))
        if arguments.out is not None:
            say(f"  wrote {arguments.out}")
    return EXIT_DONE


def _describe(found: "Occlusion", names: list[str]) -> str:
    lines = [f"{found.pictures} pictures; change of a prediction, as a share of its own spread, with a part covered:"]
    for k, name in enumerate(names):
        share = found.change[:, :, k] / max(float(found.spread[k]), 1e-9)
        row, column = (int(place) for place in np.unravel_index(int(share.argmax()), share.shape))
        lines.append(
            f"  {name}: {share.mean():.2f} on average, {share.max():.2f} at most ({_name_of(row, column, share.shape)})"
        )
    return "\n".join(lines)


def _name_of(row: int, column: int, shape: tuple[int, ...]) -> str:
    across = ("left", "in the middle", "right")[3 * column // shape[1]]
    return f"{('top', 'half way up', 'bottom')[3 * row // shape[0]]}, {across}"
