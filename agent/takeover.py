"""A person takes the wheel while the agent drives, and gives it back."""

import logging
from collections.abc import Callable

from agent.contract.controls import Controls
from agent.inputs.base import Input

_log = logging.getLogger(__name__)

THRESHOLD = 0.25
"""A stick or pedal moved this far takes over: more than a hand resting on it does, less than any steering."""


class Takeover:
    """Watches a person's input: what moves it past the threshold takes over, until the wheel is given back.

    Args:
        person: Open.
        wants_back: Asked every time: whether the person gives the wheel back by a button.

    Attributes:
        active: Whether the person drives.
    """

    def __init__(self, person: Input, wants_back: Callable[[], bool] = lambda: False) -> None:
        self.active = False
        self._person = person
        self._wants_back = wants_back

    def __call__(self) -> Controls | None:
        """Return the person's controls while they drive, else None."""
        if self._wants_back():
            self.give_back()
        controls = self._person.read()
        if not self.active and max(abs(controls.steering), controls.throttle, controls.brake) > THRESHOLD:
            self.active = True
            _log.warning("taken over; give the wheel back with F8, or with the pad's Back button")
        return controls.arbitrate() if self.active else None

    def give_back(self) -> None:
        """Let the network drive again; may be called from any thread."""
        if self.active:
            self.active = False
            _log.warning("the network drives again")
