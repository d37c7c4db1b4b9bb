"""``doctor``: what stands between this machine and a car that drives."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, note, say, say_json
from agent.games.registry import find_game
from agent.sessions.opening import open_engine, shipped_weights
from agent.settings.doctor import DoctorSettings
from agent.settings.shared import EngineSettings

if TYPE_CHECKING:
    from agent.contract.observation import Pixels

_COLOURS = {"OK": "green", "warning": "yellow", "failed": "red"}


def _run(settings: DoctorSettings, invocation: Invocation) -> int:
    from rich.console import Console
    from rich.markup import escape

    from agent.measuring.doctor import Finding, examine

    profile = None if settings.game is None else find_game(settings.game).profile
    capture = None
    if profile is not None and (profile.capture is not None or settings.window or settings.monitor):
        capture = settings.where_to_look(profile)
    load_engine = None
    folder = settings.weights
    if folder is None and profile is not None:
        folder = shipped_weights(profile.model_name)
    untrained = profile is not None and settings.weights is None and folder is not None and not folder.exists()
    if folder is not None and not untrained:

        def load_engine() -> Any:
            name = profile.model_name if profile is not None else "carracing"
            return open_engine(EngineSettings(weights=settings.weights), name, note)

    more = []
    if profile is not None and untrained:
        advice = f"Record yourself (`agent record --game {profile.name}`) and train, or pass --weights"
        more = [Finding("network", "warning", f"there are no weights for {profile.name} yet. {advice}.")]
    findings: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    examination = examine(profile, capture, load_engine, settings.picture, _save, settings.pad)
    for finding in itertools.chain(examination, more):
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


def _save(path: Path, pixels: "Pixels") -> None:
    import cv2

    from agent.contract.errors import CaptureError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels[..., :3])[1].tobytes())
    except OSError as exc:
        raise CaptureError(f"{path} cannot be written ({exc.strerror}), expected a folder that can be.") from exc


COMMAND = Command(
    name="doctor",
    summary="look at screen, window, gamepad and network, and say what to do about each",
    settings=DoctorSettings,
    run=_run,
    example="python -m agent doctor --game gta5 --picture seen.png",
    notes="exit code: 0 if nothing failed, 1 otherwise; warnings do not count.",
    json=JSON,
)
