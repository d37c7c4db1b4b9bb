"""``games``: what can be driven, and a profile for one more."""

import contextlib
import json
import re
from pathlib import Path

from agent.commands.options import Command, Entry, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, note, say
from agent.contract.errors import AgentError, GameError
from agent.contract.profile import CONTROLLERS, MAX_DEAD_ZONE, GameProfile, PadMap, Region
from agent.games.registry import find_game, game_names
from agent.sessions.opening import shipped_weights
from agent.settings.checks import region
from agent.settings.games import GamesSettings

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_SWEEP_STEP = 0.01
_SWEEP_STEP_S = 0.25


def _list(settings: GamesSettings, invocation: Invocation) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("game", "", "where", "controller", "Hz", "weights", box=None, pad_edge=False)
    faulty = []
    for name in game_names():
        try:
            profile = find_game(name).profile
        except GameError as exc:
            faulty.append(str(exc))
            continue
        weights = "yes" if (shipped_weights(profile.model_name) / "spec.json").exists() else "none"
        controller = profile.controller if profile.capture else "-"
        # As Text: what a profile says in square brackets is no markup.
        about = (Text(profile.title), Text(_where(profile)))
        table.add_row(name, *about, controller, f"{profile.rate_hz:g}", weights)
    Console().print(table)
    for problem in faulty:
        note(f"error: {problem}")
    return EXIT_ERROR if faulty else EXIT_DONE


def _where(profile: GameProfile) -> str:
    capture = profile.capture
    if capture is None:
        return "in process"
    place = f"window {capture.window!r}" if capture.window is not None else f"monitor {capture.monitor}"
    return place if capture.region is None else f"{place} at {capture.region}"


# --- a new profile ----------------------------------------------------------------------------------------------------


def _new(settings: GamesSettings, invocation: Invocation) -> int:
    try:
        return _interview()
    except EOFError:  # the answers ended: as good as Ctrl-C
        raise KeyboardInterrupt from None


def _interview() -> int:
    from rich.prompt import Confirm, FloatPrompt, Prompt

    from agent.games.profile_files import load_profile, user_folder

    name = Prompt.ask("Short name of the game, for the command line (letters, digits, hyphens)")
    while not _NAME.fullmatch(name) or (name in game_names() and not Confirm.ask(f"Replace your profile {name}?")):
        name = Prompt.ask("Small letters, digits and hyphens, please")
    title = Prompt.ask("Its title", default=name)
    window = _choose_window()
    place = f"window = {_quoted(window)}" if window else "monitor = 1"
    part = _ask_region()
    rate_hz = FloatPrompt.ask("Decisions a second", default=20.0)
    controller = Prompt.ask("What moves the car", choices=list(CONTROLLERS), default="gamepad")
    dead_zone = 0.0
    if controller == "gamepad":
        say("Most games ignore the first part of a stick's travel. Finding out how much makes small corrections count.")
        if Confirm.ask("Move the stick slowly now, while you watch the wheels in the game?", default=True):
            dead_zone = _sweep()
    lines = [
        f"title = {_quoted(title)}",
        f"rate_hz = {rate_hz:g}",
        f"controller = {_quoted(controller)}",
        'notes = "Written by `agent games new`; not verified beyond what was asked there."',
        "",
        "[capture]",
        place,
    ]
    if part is not None:
        lines.append(f"region = [{part}]")
    if dead_zone:
        lines += ["", "[pad]", f"steering_dead_zone = {dead_zone:.2f}"]
    path = user_folder() / f"{name}.toml"
    _write(path, "\n".join(lines) + "\n")
    load_profile(path)
    say(f"wrote {path}")
    say(f"next: python -m agent doctor --game {name} --picture {name}.png")
    say(f"then: python -m agent record --game {name} --out episodes    # drive it yourself")
    return EXIT_DONE


def _choose_window() -> str:
    """Return a part of a window's title, or nothing for the whole monitor."""
    from rich.prompt import IntPrompt, Prompt

    from agent.capture.desktop import open_desktop

    try:
        desktop = open_desktop()
    except AgentError as exc:
        note(f"{exc}")
        return Prompt.ask("A part of its window's title (empty: the whole monitor)", default="")
    windows = sorted(desktop.windows(), key=lambda window: -window.region.width * window.region.height)[:15]
    desktop.close()
    for number, window in enumerate(windows, 1):
        say(f"{number:3}  {window.title}  ({window.region.width} x {window.region.height} px)")
    say("  0  none of them: the whole monitor")
    choices = [str(number) for number in range(len(windows) + 1)]
    number = IntPrompt.ask("Which window is the game", choices=choices, show_choices=False)
    if number == 0:
        return ""
    chosen = windows[number - 1].title
    say("Titles change with levels and versions: keep the part that stays.")
    return Prompt.ask("Part of the title", default=chosen)


def _ask_region() -> Region | None:
    from rich.prompt import Prompt

    while text := Prompt.ask("Only a part of it? left,top,width,height in pixels (empty: all)", default=""):
        try:
            return region(text)
        except ValueError as exc:
            note(str(exc))
    return None


def _sweep() -> float:
    """Push the virtual stick right, a hundredth at a time, until the user presses Enter; return where that was."""
    import threading
    import time

    from agent.contract.controls import Controls
    from agent.controllers.gamepad import Gamepad

    try:
        gamepad = Gamepad(PadMap()).__enter__()
    except AgentError as exc:
        note(f"{exc}")
        return 0.0
    say("Click into the game within 5 s. Press Enter HERE when the wheels begin to turn (it stops at 0.5 by itself).")
    stopped = threading.Event()

    def wait_for_enter() -> None:
        with contextlib.suppress(EOFError):
            input()
        stopped.set()

    threading.Thread(target=wait_for_enter, daemon=True).start()
    deflection = 0.0
    with gamepad:
        time.sleep(5)
        while not stopped.wait(_SWEEP_STEP_S) and deflection < 0.5:
            deflection += _SWEEP_STEP
            gamepad.send(Controls(deflection))
            note(f"stick at {deflection:.2f}")
    if not stopped.is_set():
        say("Nothing was seen to move: no dead zone is written.")
        return 0.0
    return min(MAX_DEAD_ZONE, max(0.0, deflection - _SWEEP_STEP))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # what JSON then writes, TOML reads the same; but not its surrogates


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise GameError(f"{path} cannot be written ({exc.strerror}), expected a folder that can be.") from exc


COMMAND = Command(
    settings=GamesSettings,
    run=_list,
    example="python -m agent games new",
    actions=(
        Entry(
            "new",
            "write a profile by asking: window, region, controller, dead zone",
            Command(
                settings=GamesSettings,
                run=_new,
            ),
        ),
    ),
    actions_title="further",
)
