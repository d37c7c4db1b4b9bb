"""``games``: lists the games, and writes a profile for another one; ``games run`` is in a module of its own."""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

from agent.commands.options import Command, Entry, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, note, say
from agent.contract.durable import replace_file
from agent.contract.errors import AgentError, GameError
from agent.contract.profile import CONTROLLERS, MAX_DEAD_ZONE, GameProfile, KeyMap, PadMap, Region
from agent.contract.untrusted import is_plain_text
from agent.games.registry import find_game, game_names
from agent.sessions.opening import shipped_weights
from agent.settings.checks import region
from agent.settings.games import GamesSettings

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_TITLE_CHARACTERS = 100
_USUAL_RAMP_S = 0.3
"""Proposed to who does not know. Turned by keys: TORCS 0.07 s to full lock, SuperTuxKart 0.23, CarRacing 0.25."""
_BACK = 0.7
"""The way back to the middle takes this share of that time: 0.3, 0.4 and 0.7 in those games."""
_LEAST_COLUMNS = 60
"""A narrower terminal gets lines that it breaks itself."""
_SWEEP_STEP = 0.01
_SWEEP_STEP_S = 0.25


def _list(settings: GamesSettings, invocation: Invocation) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("game", "", "where", "controller", "Hz", "weights", box=None, pad_edge=False)
    faulty, started = [], []
    for name in game_names():
        try:
            game = find_game(name)
        except GameError as exc:
            faulty.append(str(exc))
            continue
        profile = game.profile
        weights = "yes" if (shipped_weights(profile.model_name) / "spec.json").exists() else "none"
        controller = profile.controller if profile.capture else "-"
        # As Text: square brackets in a profile are not markup.
        about = (Text(profile.title), Text(_where(profile)))
        if game.make_launcher is not None:
            started.append(name)
        table.add_row(name, *about, controller, f"{profile.rate_hz:g}", weights)
    Console(width=max(_LEAST_COLUMNS, Console().width)).print(table)
    say(f"`python -m agent games run GAME` starts by itself: {', '.join(started)}")
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
    except EOFError:  # the input ended: the same as Ctrl-C
        raise KeyboardInterrupt from None


def _interview() -> int:
    from rich.prompt import Confirm, Prompt

    from agent.games.profile_files import user_folder

    name = Prompt.ask("Short name of the game, for the command line (letters, digits, hyphens)")
    while not _NAME.fullmatch(name) or (name in game_names() and not Confirm.ask(f"Replace your profile {name}?")):
        name = Prompt.ask("Small letters, digits and hyphens, please")
    title = Prompt.ask("Its title", default=name)
    window, place_on_screen = _choose_window()
    place = f"window = {_quoted(window)}" if window else "monitor = 1"
    part = _ask_region(place_on_screen)
    rate_hz = _ask_rate()
    usual = "gamepad" if _has_gamepad_driver() else "keyboard"
    controller = Prompt.ask(
        "What moves the car (keyboard, if you drive it by keys yourself)", choices=list(CONTROLLERS), default=usual
    )
    dead_zone = 0.0
    keys = _ask_keys() if controller == "keyboard" else []
    if controller == "gamepad":
        say("Most games ignore the first part of a stick's travel. Finding out how much makes small corrections count.")
        if Confirm.ask("Move the stick slowly now, while you watch the wheels in the game?", default=True):
            dead_zone = _sweep()
    say("Training can show the network every picture in a mirror, too, so that a left bend teaches a right one.")
    is_mirrored = Confirm.ask("Do its roads look right in a mirror (not if traffic keeps to one side)?", default=True)
    lines = [
        f"title = {_quoted(title)}",
        f"rate_hz = {rate_hz:g}",
        f"controller = {_quoted(controller)}",
        'notes = "Written by `agent games new`; only its questions were verified."',
        "",
        "[capture]",
        place,
    ]
    if part is not None:
        lines.append(f"region = [{part}]")
    if is_mirrored:
        lines += ["", "[[mirrored]]", "left = 0.0", "top = 0.0", "width = 1.0", "height = 1.0"]
    if dead_zone:
        lines += ["", "[pad]", f"steering_dead_zone = {dead_zone:.2f}"]
    # A stuck car reverses, up to three times in a row, which suits most road games. Edit this to press a rescue key.
    lines += [*keys, "", "[stuck]", 'action = "reverse"', "after_s = 4.0", "for_s = 1.5"]
    path = user_folder() / f"{name}.toml"
    _write(path, "\n".join(lines) + "\n")
    say(f"wrote {path}; every key that it may have: docs/profiles.md")
    say(f"next: python -m agent doctor --game {name} --picture {name}.png")
    say(f"then: python -m agent record --game {name} --out episodes/{name}    # drive it yourself")
    return EXIT_DONE


def _has_gamepad_driver() -> bool:
    """Return whether a virtual gamepad can be plugged in here: Linux' uinput, or ViGEmBus on Windows."""
    from agent.controllers.gamepad import UINPUT

    if os.name != "nt":
        return os.access(UINPUT, os.W_OK)
    try:
        import vgamepad  # noqa: F401  # opens the bus driver as it is imported
    except Exception:  # its own, where the driver is missing
        return False
    return True


def _choose_window() -> tuple[str, Region | None]:
    """Return a part of a window's title, empty for the whole monitor, and where the window is, if that is known."""
    from rich.prompt import IntPrompt, Prompt

    from agent.capture.desktop import open_desktop, plain_title

    try:
        desktop = open_desktop()
    except AgentError as exc:
        note(f"{exc}")
        asked = Prompt.ask("A part of its window's title (empty: the whole monitor)", default="")
        return plain_title(asked)[:_TITLE_CHARACTERS].strip(), None
    windows = sorted(desktop.windows(), key=lambda window: -window.region.width * window.region.height)
    windows = [window for window in windows if plain_title(window.title)][:15]
    desktop.close()
    for number, window in enumerate(windows, 1):
        say(f"{number:3}  {plain_title(window.title)}  ({window.region.width} x {window.region.height} px)")
    say("  0  none of them: the whole monitor")
    choices = [str(number) for number in range(len(windows) + 1)]
    number = IntPrompt.ask("Which window is the game", choices=choices, show_choices=False)
    if number == 0:
        return "", _first_monitor()
    chosen = windows[number - 1]
    title = plain_title(chosen.title)[:_TITLE_CHARACTERS].strip()
    alike = sum(title.casefold() in plain_title(window.title).casefold() for window in windows)
    if alike > 1:
        say(f"{alike} windows have that title: the one with the focus is used. Close the others, or keep more of it.")
    say("Titles change with levels and versions: keep the part that stays.")
    while not is_plain_text(part := plain_title(Prompt.ask("Part of the title", default=title)), _TITLE_CHARACTERS):
        note(f"a title has 1 to {_TITLE_CHARACTERS} characters")
    return part, chosen.region


def _first_monitor() -> Region | None:
    """Return where the first monitor is; None if that cannot be read here."""
    from agent.capture.registry import open_grabber
    from agent.contract.profile import MSS

    try:
        grabber = open_grabber(MSS)
    except AgentError:
        return None
    try:
        return grabber.monitors[1]
    finally:
        grabber.close()


def _ask_region(window: Region | None) -> Region | None:
    """Return the part to capture; None for all.

    Args:
        window: Where the window or the monitor is; None if unknown.
    """
    from rich.prompt import Prompt

    while text := Prompt.ask("Only a part of it? left,top,width,height in pixels (empty: all)", default=""):
        try:
            part = region(text)
            if window is None:
                return part
            inside = part.within(window)
            if (inside.width, inside.height) == (part.width, part.height):
                return part
            note(f"{part} is partly outside of the {window.width} x {window.height} px there are, expected inside")
        except (ValueError, GameError) as exc:
            note(str(exc))
    return None


def _ask_rate() -> float:
    from rich.prompt import FloatPrompt

    while not 1.0 <= (rate_hz := FloatPrompt.ask("Decisions a second", default=20.0)) <= 100.0:
        note("expected a number from 1 to 100; 10 to 30 is usual")
    return rate_hz


def _ask_keys() -> list[str]:
    """Return the profile's lines that say which keys drive, and how they turn the wheels; none for the defaults."""
    lines = [*_ask_key_names(), *_ask_steering_ramp()]
    return ["", "[keys]", *lines] if lines else []


def _ask_steering_ramp() -> list[str]:
    """Return the line that says how long the game takes to turn its wheels; none where it turns them at once."""
    from rich.prompt import FloatPrompt

    say("Most games turn the wheels gradually while a steering key is held. The network learns where the wheels are.")
    say("Hold a steering key in the game. Usually it takes 0.1 to 0.5 s; keep 0.3 if you cannot tell.")
    what = "After how many seconds are the wheels fully turned (0, only if they jump)?"
    while (seconds := FloatPrompt.ask(what, default=_USUAL_RAMP_S)) != 0 and not 0.01 <= seconds <= 10.0:
        note("expected 0, or a number from 0.01 to 10; 0.1 to 0.5 is usual")
    if not seconds:
        return []
    return [f"steering_ramp_s = [{seconds / 2:.4g}, {seconds:.4g}, {seconds * _BACK:.4g}]"]


def _ask_key_names() -> list[str]:
    """Return the profile's lines that name the keys; none for the arrow keys."""
    from rich.prompt import Confirm, Prompt

    usual = KeyMap()
    if Confirm.ask("Do the arrow keys drive it?", default=True):
        return []
    while True:
        names = ("left", "right", "throttle", "brake")
        keys = {name: Prompt.ask(f"Key for {name}", default=getattr(usual, name)) for name in names}
        try:
            KeyMap(keys["left"], keys["right"], keys["throttle"], keys["brake"])
        except GameError as exc:
            note(str(exc))
            continue
        return [f"{name} = {_quoted(key)}" for name, key in keys.items()]


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
        say("You saw no movement: no dead zone is written.")
        return 0.0
    return min(MAX_DEAD_ZONE, max(0.0, deflection - _SWEEP_STEP))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # TOML reads such JSON text alike, except for surrogates


def _write(path: Path, text: str) -> None:
    """Write a profile after checking that it loads: a faulty one would also block all other profiles.

    Raises:
        GameError: If it does not load, or cannot be written; then an existing profile of that name is unchanged.
    """
    from agent.games.profile_files import load_profile

    try:
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / path.name
            draft.write_text(text, encoding="utf-8")
            load_profile(draft)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)
    except OSError as exc:
        raise GameError(f"{path} cannot be written ({exc.strerror}), expected a writable folder.") from exc


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
        Entry(
            "run",
            "start a game in its own window, drive it there, and take everything down",
            "agent.commands.game_run",
        ),
    ),
    actions_title="further",
)
