"""``doctor``: what stands between this machine and a car that drives."""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.options import add_capture_options, add_command, add_json_option, png_path, where_to_look
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, make_engine, say, say_json, shipped_weights
from agent.games.registry import find_game

if TYPE_CHECKING:
    from agent.contract.observation import Pixels

_COLOURS = {"OK": "green", "warning": "yellow", "failed": "red"}


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "doctor",
        _run,
        "look at screen, window, gamepad and network, and say what to do about each",
        "python -m agent doctor --game gta5 --picture seen.png",
    )
    parser.add_argument("--game", metavar="NAME", help="look for this game too, and at its weights (see `agent games`)")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="model folder (default: model_weights/GAME)")
    parser.add_argument("--picture", type=png_path, metavar="FILE", help="write what is captured (.png)")
    parser.add_argument("--no-pad", action="store_true", help="do not plug the virtual gamepad in")
    add_capture_options(parser)
    add_json_option(parser)
    parser.epilog = f"exit code: 0 if nothing failed, 1 otherwise; warnings do not count.\n{parser.epilog}"


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape

    from agent.measuring.doctor import Finding, examine

    profile = None if arguments.game is None else find_game(arguments.game).profile
    capture = None
    if profile is not None and (profile.capture is not None or arguments.window or arguments.monitor):
        capture = where_to_look(arguments, profile)
    load_engine = None
    folder = arguments.weights if profile is None else arguments.weights or shipped_weights(profile.model_name)
    untrained = profile is not None and arguments.weights is None and not folder.exists()
    if folder is not None and not untrained:
        arguments.engine, arguments.threads = "auto", None

        def load_engine() -> Any:
            return make_engine(arguments, profile.model_name if profile is not None else "carracing")

    more = []
    if profile is not None and untrained:
        advice = f"Record yourself (`agent record --game {profile.name}`) and train, or pass --weights"
        more = [Finding("network", "warning", f"there are no weights for {profile.name} yet. {advice}.")]
    findings: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    examination = examine(profile, capture, load_engine, arguments.picture, _save, not arguments.no_pad)
    for finding in itertools.chain(examination, more):
        findings.append(finding)
        if not arguments.json:
            colour = _COLOURS[finding.verdict]
            console.print(f"[{colour}]{finding.verdict:8}[/] {finding.name:9} {escape(finding.text)}")
    failed = [finding.name for finding in findings if finding.verdict == "failed"]
    if arguments.json:
        rows = [{"name": found.name, "verdict": found.verdict, "text": found.text} for found in findings]
        say_json({"game": arguments.game, "findings": rows, "failed": failed})
    else:
        say(f"failed: {', '.join(failed)}" if failed else "nothing failed")
    return EXIT_ERROR if failed else EXIT_DONE


def _save(path: Path, pixels: "Pixels") -> None:
    import cv2

    from agent.contract.errors import CaptureError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels[..., :3])[1].tobytes())
    except OSError as exc:
        raise CaptureError(f"{path} cannot be written ({exc.strerror}), expected a folder that can be.") from exc
