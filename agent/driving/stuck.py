"""Notices a stuck car, and frees it in the way that the game's profile says."""

import logging
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.observation import Observation, newest_picture
from agent.contract.profile import Stuck
from agent.observers.base import StuckState

_log = logging.getLogger(__name__)

FREE_S = 15.0
"""How long the car must move before attempts are counted from 0 again. A car that reversed off a wall moves, and may
drive into the same wall a few seconds later."""

_SMALL = (48, 27)  # pictures are compared at this size, so that grass flickering by a pixel does not count as movement


class StuckWatch:
    """Measures how much the pictures change: they all change while a car drives.

    A camera cannot measure the distance driven, and the distance to an earlier place is zero after a lap too. Over
    windows of 3 s, CarRacing's pictures changed by at most 0.3 grey levels a second at rest, by at least 20 at a crawl,
    and by 47 in a race. SuperTuxKart's changed, at 20 pictures a second, by 0.08 from one picture to the next at rest
    and by 6 under throttle.

    Args:
        stuck: The profile's settings.
        tap: Holds a button or key for a number of seconds; for ``press``.
        reset: Puts the car back on the track; for ``reset``.

    Attributes:
        events: How often the car was found stuck.
        attempts: How often something was done about it.
        given_up: How often all attempts failed.
    """

    def __init__(
        self,
        stuck: Stuck,
        tap: Callable[[str, float], None] = lambda name, seconds: None,
        reset: Callable[[], None] = lambda: None,
    ) -> None:
        self.events = 0
        self.attempts = 0
        self.given_up = 0
        self._stuck = stuck
        self._tap = tap
        self._reset = reset
        self._changes: deque[tuple[float, float]] = deque()  # when, and by how many grey levels
        self._last: npt.NDArray[np.float32] | None = None
        self._since_s: float | None = None  # when the present window began
        self._recovers_until_s: float | None = None
        self._in_a_row = 0
        self._moves_since_s: float | None = None  # after an attempt
        self._hopeless = False
        self._has_moved = False
        self._recovery = NEUTRAL

    @property
    def state(self) -> StuckState:
        """Whether the car is moving or stuck, as of the last picture."""
        if self._recovers_until_s is not None:
            return "recovering"
        return "given_up" if self._hopeless else "free"

    def look_away(self) -> None:
        """Forget the earlier pictures: there was no picture for a while."""
        self._changes.clear()
        self._last = self._since_s = self._recovers_until_s = None

    def hand_over(self) -> None:
        """Stop freeing the car: a person drives now."""
        self.look_away()
        self._in_a_row, self._moves_since_s, self._hopeless = 0, None, False

    def watch(self, observation: Observation, controls: Controls, time_s: float) -> Controls:
        """Return the controls to send: the given ones, or those that free the car.

        Args:
            observation: The network's input; of several pictures, only the newest is used.
            controls: The network's controls.
            time_s: The time now, in seconds from any fixed moment.
        """
        self._take(observation, time_s)
        if self._recovers_until_s is not None:
            if time_s < self._recovers_until_s:
                return self._recovery
            self._recovers_until_s = None
            self._restart_window(time_s)
        if self._since_s is None or time_s - self._since_s < self._stuck.after_s:
            return NEUTRAL if self._hopeless else controls
        if self._moves():
            self._has_moved = True
            self._note_movement(time_s)
            return controls
        if self._hopeless:
            return NEUTRAL
        if not self._has_moved and time_s - self._since_s < self._stuck.start_s:
            return controls
        return self._recover(controls, time_s)

    def _take(self, observation: Observation, time_s: float) -> None:
        grey = cv2.cvtColor(
            cv2.resize(newest_picture(observation), _SMALL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        small = grey.astype(np.float32)
        if self._since_s is None:
            self._since_s = time_s
        if self._last is not None:
            self._changes.append((time_s, float(np.abs(small - self._last).mean())))
        self._last = small
        while self._changes and time_s - self._changes[0][0] > self._stuck.after_s:
            self._changes.popleft()

    def _moves(self) -> bool:
        return sum(change for _, change in self._changes) >= self._stuck.least_change_per_s * self._stuck.after_s

    def _note_movement(self, time_s: float) -> None:
        if not self._in_a_row:
            return
        if self._moves_since_s is None:
            self._moves_since_s = time_s
            _log.warning("moves again")
        # With neutral controls, somebody else moved the car: that is a new beginning too.
        if self._hopeless or time_s - self._moves_since_s >= FREE_S:
            self._in_a_row, self._moves_since_s, self._hopeless = 0, None, False

    def _restart_window(self, time_s: float) -> None:
        self._changes.clear()
        self._since_s = time_s

    def _recover(self, controls: Controls, time_s: float) -> Controls:
        stuck = self._stuck
        self._moves_since_s = None
        if not self._in_a_row:
            self.events += 1
        found = f"stuck: the picture has hardly changed for {stuck.after_s:g} s"
        if self._in_a_row == stuck.attempts:
            self.given_up += 1
            self._hopeless = True
            _log.warning("%s, and %d attempts failed; controls are neutral until it moves", found, stuck.attempts)
            self._restart_window(time_s)
            return NEUTRAL
        self._in_a_row += 1
        self.attempts += 1
        self._recovers_until_s = time_s + stuck.for_s
        self._recovery = self._recovery_from(controls)
        deed = {
            "wait": f"waiting for {stuck.for_s:g} s",
            "forward": f"driving forward for {stuck.for_s:g} s",
            "reverse": f"reversing for {stuck.for_s:g} s",
            "press": f"pressing {stuck.press} for {stuck.for_s:g} s",
            "reset": "starting again",
        }[stuck.action]
        _log.warning("%s; %s (attempt %d of %d)", found, deed, self._in_a_row, stuck.attempts)
        if stuck.action == "press":
            self._tap(stuck.press, stuck.for_s)
        elif stuck.action == "reset":
            self._reset()
        return self._recovery

    def _recovery_from(self, controls: Controls) -> Controls:
        if self._stuck.action == "forward":
            return Controls(controls.steering, throttle=1.0)
        if self._stuck.action == "reverse":
            # Straight back first. Later attempts turn the wheel the other way: otherwise the nose ends where it was.
            return Controls(0.0 if self._in_a_row == 1 else -float(np.sign(controls.steering)), brake=1.0)
        return NEUTRAL
