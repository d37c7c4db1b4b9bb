"""A game in a window, as a Gymnasium environment: real time, the guard's promises, a person who can take over.

::

    step(action)
      the controls are sent now               (a person's, while one has taken over)
      wait for the next deadline              start + k * period, however long the caller took
      look                                    blind: neutral, and look again at each deadline

The guard process lets go of the controls if no step comes for 0.15 s (0.5 s at most, see
:func:`agent.controllers.base.expiry_for`), so a learner that updates its network between two steps leaves the car
neutral in the meantime. They are neutral from ``reset`` to the first step, at the end of an episode, after a fault, and
after ``close``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from agent.capture.base import FrameSource
from agent.capture.screen import ScreenSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import BlindError, GameError
from agent.contract.observation import Frame, Observation
from agent.contract.profile import GameProfile
from agent.controllers.base import Controller, expiry_for
from agent.controllers.guard.client import GuardedController
from agent.driving.guarded import guarded_controller
from agent.environments.spaces import Action, View, to_rgb
from agent.games.registry import find_game
from agent.system.pacing import Pacer, Tick

BLIND_S = 10.0
"""An episode without a picture for so long is cut short."""

Tap = Callable[[str, float], None]
"""Holds a button of the pad, or a key, for some seconds."""


class Task:
    """What is rewarded, and when an episode is over; subclass it for a game.

    The game itself says nothing to a program that only looks at its window. A task reads what it needs from the
    picture, or from a log that the game writes.
    """

    def start(self, tap: Tap) -> None:
        """Begin an episode, for example by holding the key that puts the car back to the start."""

    def judge(self, frame: Frame, controls: Controls) -> tuple[float, bool]:
        """Return the reward of a step, and whether the episode is over.

        Args:
            frame: The picture after the step.
            controls: What was sent in the step, a person's included.
        """
        return 0.0, False


class WindowEnv(gymnasium.Env[Observation, Action]):
    """Drives a game in a window in real time. The window, the gamepad and the guard are opened by the first ``reset``.

    ``info`` holds the ``controls`` that were sent, whether they were a person's (``by_hand``), how many deadlines the
    caller has missed since the reset (``missed``), and for how long there was no picture (``blind_s``).

    Args:
        profile: The game's profile, by name or as a :class:`agent.contract.profile.GameProfile`.
        task: Reward and end.
        width_px: Width of an observation.
        height_px: Height of an observation.
        rate_hz: Steps a second; None for the profile's rate.
        controller: ``gamepad`` or ``keyboard``; None for the profile's own.
        takeover: Whether a person can take over.
        outputs: What an action consists of, see :class:`agent.environments.spaces.View`.
        render_mode: ``rgb_array``, or None.
        open_source: Opens where frames come from; None captures the profile's window.
        open_controller: Makes what moves the car; None makes the profile's, in a guard process.
        pacer: Sets the rate; None makes one in real time.

    Raises:
        GameError: If there is no such game, or it has no window.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  # as in gymnasium

    def __init__(
        self,
        profile: str | GameProfile,
        task: Task | None = None,
        width_px: int = 160,
        height_px: int = 90,
        rate_hz: float | None = None,
        controller: str | None = None,
        takeover: bool = True,
        outputs: Sequence[str] | None = None,
        render_mode: str | None = None,
        open_source: Callable[[], FrameSource] | None = None,
        open_controller: Callable[[], Controller] | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        facts = find_game(profile).profile if isinstance(profile, str) else profile
        capture = facts.capture
        if open_source is None and capture is None:
            raise GameError(
                f"{facts.name} has no window, expected a profile with [capture]. See `python -m agent games`."
            )
        self._open_source = open_source or (lambda: ScreenSource(capture))  # type: ignore[arg-type]
        self._open_controller = open_controller or (lambda: guarded_controller(facts, controller, takeover))
        self._pacer = pacer or Pacer(1.0 / (rate_hz or facts.rate_hz))
        self._task = task or Task()
        self._view = View(facts, width_px, height_px, outputs)
        self.observation_space, self.action_space = self._view.observation_space, self._view.action_space
        self.render_mode = render_mode
        self._stack: ExitStack | None = None
        self._source: FrameSource
        self._controller: Controller
        self._ticks: Iterator[Tick] = iter(())
        self._frame: Frame | None = None
        self._missed_before = 0
        self._blind_s = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Let go of the controls, begin an episode, and wait for a picture.

        Raises:
            CaptureError: If there is no window, or no picture within :data:`BLIND_S`.
            ControllerError: If the gamepad or the keys cannot be opened.
        """
        super().reset(seed=seed)
        self._open()
        with self._closed_by_a_fault():
            self._controller.send(NEUTRAL)
            if isinstance(self._controller, GuardedController):
                self._task.start(self._controller.tap)
            self._blind_s = 0.0
            self._ticks = self._pacer.ticks()
            next(self._ticks)
            self._missed_before = self._pacer.stats.missed
            frame = self._look()
            if frame is None:
                raise BlindError(f"there was no picture for {BLIND_S:g} s, expected the game's. Bring its window up.")
            self._frame = frame
            return self._view.observe(frame), self._describe(NEUTRAL, False)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Send an action's controls, wait for the next deadline, and look.

        Raises:
            ControlsError: If the action has another shape, or is not finite.
            ControllerError: If the controls cannot reach the game.
            CaptureError: If the window has been closed.
        """
        if self._stack is None or self._frame is None:
            raise GameError("the environment is closed, expected a reset before a step. Call reset().")
        with self._closed_by_a_fault():
            person = self._controller.by_hand() if isinstance(self._controller, GuardedController) else None
            controls = self._view.controls(action) if person is None else person
            self._controller.send(controls)
            next(self._ticks)
            frame = self._look()
            if frame is None:
                return self._view.observe(self._frame), 0.0, False, True, self._describe(controls, person is not None)
            self._frame = frame
            reward, over = self._task.judge(frame, controls)
            if over:
                self._controller.send(NEUTRAL)
            return self._view.observe(frame), float(reward), over, False, self._describe(controls, person is not None)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the window's whole picture as RGB; None without ``render_mode``."""
        return None if self.render_mode is None or self._frame is None else to_rgb(self._frame)

    def close(self) -> None:
        """Leave the controls neutral and release window and gamepad; may be called twice."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def _open(self) -> None:
        if self._stack is not None:
            return
        with ExitStack() as stack:
            self._source = stack.enter_context(self._open_source())
            self._controller = stack.enter_context(self._open_controller())
            if isinstance(self._controller, GuardedController):
                self._controller.expiry_s = expiry_for(self._pacer.period_s)
            self._stack = stack.pop_all()

    def _closed_by_a_fault(self) -> ExitStack:
        """Return a block that closes everything if it is left by an error, Ctrl-C included."""
        stack = ExitStack()

        def leave(kind: object, error: object, trace: object) -> None:
            if kind is not None:
                self.close()

        stack.push(leave)
        return stack

    def _look(self) -> Frame | None:
        """Return the newest frame; while there is none, send neutral at each deadline, for :data:`BLIND_S` at most."""
        waited_s = 0.0
        while True:
            try:
                return self._source.read()
            except BlindError:
                if waited_s > BLIND_S - self._pacer.period_s / 2:
                    return None
                self._controller.send(NEUTRAL)
                next(self._ticks)
                waited_s += self._pacer.period_s
                self._blind_s += self._pacer.period_s

    def _describe(self, controls: Controls, by_hand: bool) -> dict[str, Any]:
        return {
            "controls": asdict(controls),
            "by_hand": by_hand,
            "missed": self._pacer.stats.missed - self._missed_before,
            "blind_s": self._blind_s,
        }
