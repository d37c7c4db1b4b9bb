"""A game that is started in its own window and driven by a program through its keys, recorded as a person would be."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.capture.screen import ScreenSource
from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader
from agent.contract.errors import BlindError, TrainingError
from agent.contract.observation import Pixels
from agent.controllers.keyboard import Keyboard
from agent.games.launching import LaunchOptions
from agent.games.registry import find_game
from agent.inputs.base import InputDevice
from agent.inputs.keyboard import KeyboardInput
from agent.inputs.sampling import KEYS_AVERAGED_S, ControlTrack, Sampler
from agent.inputs.wheels import GameWheel
from agent.sessions.game_run import started_game
from agent.sessions.record_person import Demonstration
from agent.system.pacing import Pacer

Play = Callable[[Pixels, Demonstration], Controls]
"""Gets a picture of the window and returns what to press. It may pause the recording."""


def pressed_keys(game: str) -> InputDevice:
    """Return the device that hears the keys which a program presses in a game."""
    keys = find_game(game).profile.keys
    return KeyboardInput(keys, wheel=GameWheel(keys.steering_ramp))


def record_in_window(
    game: str, options: LaunchOptions, hands: InputDevice, play: Play, folder: Path, seconds: float
) -> dict[str, Any]:
    """Start a game on a desktop that nobody sees, drive it by its keys, and record episodes until the time is up.

    Ctrl-C ends it early; what was recorded is kept.

    Args:
        game: The game's name.
        options: What to start.
        hands: Whose controls are recorded.
        play: Drives.
        folder: Where the episodes go.
        seconds: How long to record; it ends earlier if the game does.

    Returns:
        The game's results, and the counts of the recording under ``record``.

    Raises:
        AgentError: If the game, the desktop or the recording cannot be started, or the window was closed.
    """
    profile, track = find_game(game).profile, ControlTrack()
    if profile.capture is None:
        raise TrainingError(f"{game} has no window, expected a game in a window. Use `python -m training collect`.")
    header = EpisodeHeader(game, "program", profile.rate_hz, profile_notes=profile.notes, track=options.track)
    with started_game(game, options) as launched:
        with ExitStack() as stack:
            seen, recorded = (stack.enter_context(ScreenSource(profile.capture, frozen_s=math.inf)) for _ in range(2))
            keyboard = stack.enter_context(Keyboard(profile.keys))
            sampler = stack.enter_context(Sampler(hands, track))
            demonstration = stack.enter_context(
                Demonstration(recorded, track, header, folder, averaged_s=KEYS_AVERAGED_S)
            )
            end_s = time.monotonic() + seconds

            def each_tick() -> None:
                sampler.check()
                with suppress(BlindError):
                    picture = seen.read().pixels
                    launched.see(picture, time.monotonic())
                    keyboard.send(play(picture, demonstration))

            def ends() -> bool:
                return time.monotonic() > end_s or not launched.is_alive

            with suppress(KeyboardInterrupt):
                demonstration.run(Pacer(1.0 / profile.rate_hz), ends, each_tick)
        return {**asdict(launched.results), "record": asdict(demonstration.counts)}
