"""Checks everything that a drive needs on this machine, and says how to fix what is wrong."""

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from agent.capture.desktop import is_wayland
from agent.capture.registry import open_grabber
from agent.capture.screen import ScreenSource
from agent.contract.controls import AXIS_NAMES, NEUTRAL, Controls
from agent.contract.errors import AgentError, BlindError, CaptureError
from agent.contract.observation import Pixels
from agent.contract.profile import MSS, Capture, GameProfile, KeyMap, PadMap, Region
from agent.controllers.gamepad import Gamepad
from agent.controllers.keyboard import Keyboard
from agent.driving.rate import sustainable_rate, warm_up
from agent.engines.base import Engine
from agent.games.registry import find_game
from agent.inputs.gamepad import GamepadInput
from agent.inputs.keyboard import Hotkeys
from agent.measuring.grabbers import grab_times_s
from agent.policies.stacked import policy_for
from agent.sessions.opening import Note, ignore, open_engine, shipped_weights
from agent.settings.doctor import DoctorSettings
from agent.settings.shared import EngineSettings
from agent.system.pacing import clock_ns

Verdict = Literal["OK", "warning", "failed"]

_LIBRARIES = ("numpy", "opencv-python-headless", "openvino", "mss", "vgamepad", "pygame-ce")
_HARMLESS_KEY = "shift"  # alone it writes nothing
_LOOK_S = 2.0
_ROUND_TRIP_S = 2.0
_PRESS_S = 0.25  # longer than what Hotkeys takes for the desktop's repeat
_REPEATED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        verdict: ``warning`` if driving works, or may work, in spite of it.
        text: What was found; unless it is OK, also what was expected and what to do.
    """

    name: str
    verdict: Verdict
    text: str


def examine(
    profile: GameProfile | None,
    capture: Capture | None,
    load_engine: Callable[[], Engine] | None,
    picture: Path | None,
    save: Callable[[Path, Pixels], None],
    test_pad: bool = True,
) -> Iterator[Finding]:
    """Make one check after the other and yield the results; a check that fails does not end the others.

    Args:
        profile: The game to look for; None checks only the machine.
        capture: Where the game's picture is; None for a game that runs in this process.
        load_engine: Loads the network for the game; None leaves the network out.
        picture: The file for a captured picture; None writes none.
        save: Writes a picture to a file.
        test_pad: Whether to plug the virtual gamepad in.
    """
    yield _versions()
    yield _display(MSS if capture is None else capture.grabber)
    if profile is not None and capture is not None:
        yield from _game(profile, capture, picture, save)
    if test_pad:
        yield from _gamepad(profile)
    yield from _keys(profile)
    yield from _wheels(profile)
    if profile is not None and profile.capture is not None:
        yield _person(profile)
    if load_engine is not None:
        yield from _network(load_engine)


def _versions() -> Finding:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    missing, found = [], []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("versions", "failed", f"{', '.join(missing)} not installed. `python -m pip install .` again.")
    return Finding("versions", "OK", ", ".join([system, *found]))


def _display(name: str) -> Finding:
    try:
        grabber = open_grabber(name)
    except AgentError as exc:
        return Finding("display", "failed", str(exc))
    monitors = grabber.monitors[1:]
    grabber.close()
    found = ", ".join(f"{index}: {region}" for index, region in enumerate(monitors, 1))
    if is_wayland():
        advice = "X programs see only each other's windows there. If the picture is black, log in on Xorg."
        return Finding("display", "warning", f"a Wayland session, monitors {found}, read by {name}. {advice}")
    return Finding("display", "OK", f"monitors (left,top,width,height) {found}, read by {name}")


def _game(
    profile: GameProfile, capture: Capture, picture: Path | None, save: Callable[[Path, Pixels], None]
) -> Iterator[Finding]:
    source = ScreenSource(replace(capture, needs_focus=False))
    try:
        source.__enter__()
    except AgentError as exc:
        yield Finding("window", "failed", str(exc))
        return
    with source:
        try:
            region = source.region()
        except AgentError as exc:
            yield Finding(
                "window", "failed", f"{str(exc).removesuffix('.')}. Bring it to the front, wholly on the screen."
            )
            return
        where = repr(source.title) if capture.window else f"monitor {capture.monitor}"
        covering = ", ".join(map(repr, source.covering()))
        if covering:
            advice = f"{covering} on top of it: what is shown there is taken for the game's. Move it aside."
            yield Finding("window", "warning", f"{where} at {region} (left,top,width,height), with {advice}")
        else:
            yield Finding("window", "OK", f"{where} at {region} (left,top,width,height)")
        if source.focused is False:
            yield Finding(
                "focus", "warning", "the window is not the one in use: `drive` waits until you click into it."
            )
        yield from _pictures(profile, source, picture, save)
    yield from _grabbers(region, capture.grabber)


def _grabbers(region: Region, chosen: str) -> Iterator[Finding]:
    """Compare the grabbers, where there is a choice."""
    times_s = grab_times_s(region)
    if len(times_s) < 2:
        return
    shown = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in times_s.items())
    fastest = next(iter(times_s))
    advice = (
        "" if fastest == chosen else f'; write `grabber = "{fastest}"` below [capture], or pass --grabber {fastest}'
    )
    yield Finding("grabber", "OK", f"{chosen} is used; a picture takes {shown}{advice}")


def _pictures(
    profile: GameProfile, source: ScreenSource, picture: Path | None, save: Callable[[Path, Pixels], None]
) -> Iterator[Finding]:
    durations_s, newest, blind = [], None, ""
    indices = set()
    started_ns = clock_ns()
    while clock_ns() - started_ns < _LOOK_S * 1e9:
        before_ns = clock_ns()
        try:
            newest = source.read()
            indices.add(newest.index)
        except BlindError as exc:
            blind = str(exc)
        except AgentError as exc:
            yield Finding("picture", "failed", str(exc))
            return
        durations_s.append((clock_ns() - before_ns) / 1e9)
        time.sleep(max(0.0, 1 / 120 - durations_s[-1]))
    counts = source.counts
    p50_ms, p99_ms = np.percentile(durations_s, (50, 99)) * 1e3
    speed = f"{len(indices) / _LOOK_S:.0f} new pictures a second, {p50_ms:.1f} ms each (p99 {p99_ms:.1f})"
    if newest is None:
        yield Finding("picture", "failed", f"{blind}, expected the game's. Show it, unlocked and not minimised.")
        return
    written = "" if picture is None else f"; look at {picture}"
    if picture is not None:
        try:
            save(picture, newest.pixels)
        except AgentError as exc:
            yield Finding("picture", "failed", str(exc))
            written = ""
    if counts.repeated > _REPEATED_SHARE * counts.grabbed:
        yield Finding("picture", "warning", f"it stands still: {speed}. Fine in a menu; else the game hangs{written}.")
    elif len(indices) / _LOOK_S < profile.rate_hz:
        advice = f"fewer than the profile's {profile.rate_hz:g} Hz. Lower the game's resolution or effects"
        yield Finding("picture", "warning", f"{speed}, {advice}{written}.")
    else:
        yield Finding("picture", "OK", speed + written)


def _gamepad(profile: GameProfile | None) -> Iterator[Finding]:
    """Plug the pad in, move its stick, and check whether a program such as a game reads it."""
    needed = profile is None or (profile.capture is not None and profile.controller == "gamepad")
    with GamepadInput() as game:
        before, first = game.instances(), game.names()
        game.accepts = lambda instance: instance not in before
        gamepad = Gamepad(PadMap())
        try:
            gamepad.__enter__()
        except AgentError as exc:
            yield Finding("gamepad", "failed" if needed else "warning", str(exc))
            return
        with gamepad:
            if not _until(lambda: (game.read(), game.name)[1]):
                advice = "plugged in, but no program sees it. On Linux look at the permissions of /dev/input/event*."
                yield Finding("gamepad", "warning", advice)
                return
            name = game.name
            started_ns = clock_ns()
            gamepad.send(Controls(-0.75, 1.0, 0.0))
            arrived = _until(lambda: game.read().steering < -0.7 and game.read().throttle > 0.9)
            took_ms = (clock_ns() - started_ns) / 1e6
            gamepad.send(NEUTRAL)
            released = _until(lambda: game.read() == NEUTRAL)
        if arrived and released:
            yield Finding("gamepad", "OK", f"plugged in as {name}, read back within {took_ms:.0f} ms")
            if first:
                advice = "Choose the pad in the game's settings, or unplug yours before you start the game"
                found = f"a game that hears only the first pad hears {first[0]}, which was there before this one"
                yield Finding("first pad", "warning", f"{found}. {advice}.")
        else:
            yield Finding(
                "gamepad", "failed", "plugged in, but what it shows does not arrive. Start again; then reboot."
            )


def _pressed_until(keyboard: Keyboard, heard: Callable[[], object]) -> bool:
    """Press the harmless key again and again until it is heard.

    On Windows, pynput 1.8 says that it listens before it has hooked the keyboard: a key pressed in between is lost.
    """
    for _ in range(round(_ROUND_TRIP_S / _PRESS_S)):
        keyboard.hold(_HARMLESS_KEY)
        arrived = _until(heard, _PRESS_S / 2)
        keyboard.release(_HARMLESS_KEY)
        if arrived or _until(heard, _PRESS_S / 2):
            return True
    return False


def _until(happened: Callable[[], object], within_s: float = _ROUND_TRIP_S) -> bool:
    deadline_ns = clock_ns() + within_s * 1e9
    while not happened():
        if clock_ns() > deadline_ns:
            return False
        time.sleep(0.002)
    return True


def _keys(profile: GameProfile | None) -> Iterator[Finding]:
    """Press a key that does nothing, check that it is heard, and look up the driving keys."""
    needed = profile is not None and profile.controller == "keyboard"
    verdict: Verdict = "failed" if needed else "warning"
    keys = profile.keys if profile is not None else KeyMap()
    further = () if profile is None or profile.stuck is None else (profile.stuck.press,) * needed
    heard: set[str] = set()
    try:
        with (
            Hotkeys({_HARMLESS_KEY: lambda: heard.add(_HARMLESS_KEY)}),
            Keyboard(keys, further=[name for name in further if name]) as keyboard,
        ):
            arrived = _pressed_until(keyboard, lambda: heard)
    except AgentError as exc:
        yield Finding("keys", verdict, str(exc))
        return
    except Exception as exc:  # an error of the desktop's, such as a server without XTEST
        yield Finding("keys", verdict, f"keys cannot be pressed ({_line(exc)}), expected a desktop that takes them.")
        return
    if arrived:
        driving = ", ".join(f"{key} for {axis}" for axis, key, _ in keys.pressed)
        yield Finding("keys", "OK", "pressed one and heard it" + (f"; {driving}" if needed else ""))
    else:
        advice = "On macOS allow it under Privacy; under Wayland log in on Xorg."
        yield Finding("keys", verdict, f"a key was pressed and not heard. {advice}")


def _wheels(profile: GameProfile | None) -> Iterator[Finding]:
    """Ask how the wheels turn, where keys steer and the profile does not say so: few games turn them at once."""
    if profile is not None and profile.controller == "keyboard" and profile.keys.steering_ramp is None:
        text = (
            "the profile says that the wheels turn at once while a steering key is held. Most games turn them "
            "gradually, and then a network learns badly: add steering_ramp_s to [keys], then record (docs/profiles.md)."
        )
        yield Finding("wheels", "warning", text)


def _person(profile: GameProfile) -> Finding:
    """Look for the device that a person would drive with, to record themselves or to take over."""
    with GamepadInput() as pad:
        unheard = pad.unheard()
        if unheard is None:
            more = len(pad.instances()) - 1
            others = f" ({more} more; the one that you move is heard)" if more > 0 else ""
            return Finding("you", "OK", f"can drive with the {pad.name}{others}")
    by_keys = f"you can drive with the keys ({', '.join(key for _, key, _ in profile.keys.pressed)})"
    is_unknown = unheard.startswith("SDL")
    return Finding("you", "warning" if is_unknown else "OK", f"{unheard}; {by_keys}" + ("." if is_unknown else ""))


def _network(load_engine: Callable[[], Engine]) -> Iterator[Finding]:
    try:
        engine = load_engine()
    except AgentError as exc:
        yield Finding("network", "failed", str(exc))
        return
    try:
        slow_s = warm_up(policy_for(engine))
        wanted_hz = engine.spec.rate_hz
        rate_hz = sustainable_rate(wanted_hz, slow_s)
        found = f"{engine.spec.name} on {engine.name}: up to {slow_s * 1e3:.0f} ms a pass"
        if rate_hz < wanted_hz:
            advice = "Close other programs; lower --rate if it stutters"
            yield Finding(
                "network", "warning", f"{found}, good for {rate_hz:g} Hz, the weights want {wanted_hz:g}. {advice}."
            )
        else:
            yield Finding("network", "OK", f"{found}, enough for the weights' {wanted_hz:g} Hz")
    except AgentError as exc:
        yield Finding("network", "failed", str(exc))
    finally:
        engine.close()


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:120]


def diagnose(settings: DoctorSettings, note: Note = ignore) -> Iterator[Finding]:
    """Do what ``python -m agent doctor`` does: yield each result as soon as it is there.

    Args:
        settings: Which game to look for, and what else to look at.
        note: Receives notes on the network, one line at a time.

    Raises:
        GameError: If there is no such game.
    """
    profile = None if settings.game is None else find_game(settings.game).profile
    capture = None
    if profile is not None and (profile.capture is not None or settings.window or settings.monitor):
        capture = settings.where_to_look(profile)
    name = "carracing" if profile is None else profile.model_name
    folder = settings.weights
    if folder is None and profile is not None:
        folder = shipped_weights(name)
    untrained = settings.weights is None and folder is not None and not folder.exists()
    load = None
    if folder is not None and not untrained:
        axes = AXIS_NAMES if profile is None else profile.axes
        load = partial(open_engine, EngineSettings(weights=settings.weights), name, note, axes)
    yield from examine(profile, capture, load, settings.picture, _save, settings.pad)
    if profile is not None and untrained:
        advice = f"Record yourself (`agent record --game {profile.name}`) and train, or pass --weights"
        yield Finding("network", "warning", f"there are no weights for {profile.name} yet. {advice}.")


def _save(path: Path, pixels: Pixels) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels[..., :3])[1].tobytes())
    except OSError as exc:
        raise CaptureError(f"{path} cannot be written ({exc.strerror}), expected a writable folder.") from exc
