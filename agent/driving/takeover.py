"""A person takes the wheel while the agent drives, and gives it back."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from agent.contract.controls import Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import KeyMap, PadMap
from agent.inputs.base import Input
from agent.inputs.gamepad import GamepadInput
from agent.inputs.keyboard import Hotkeys, KeyboardInput
from agent.inputs.wheels import Wheel

_log = logging.getLogger(__name__)

THRESHOLD = 0.25
"""A stick or pedal moved this far takes over: more than a hand resting on it does, less than any steering."""


class Takeover:
    """Watches what a person may take over with: a gamepad, moved past the threshold, or after a key was hit, the keys.

    What a person's gamepad says has to be handed to the game, which listens to the agent's; their keys it hears itself.

    Args:
        pad: Open; None without one.
        keys: Those that drive the game; None if they cannot be heard.
        wants_back: Asked every time: whether the person gives the wheel back by a button.
        hotkey: What calls :meth:`change_hands`, to be told.

    Attributes:
        by: What the person drives with; None while nobody has taken over.
    """

    def __init__(
        self,
        pad: Input | None = None,
        keys: Input | None = None,
        wants_back: Callable[[], bool] = lambda: False,
        hotkey: str = "f8",
    ) -> None:
        self._key = hotkey.upper()
        self.by: Input | None = None
        self._pad = pad
        self._keys = keys
        self._wants_back = wants_back
        self._pad_is_there = pad is not None and pad.unheard() is None

    @property
    def reach_the_game(self) -> bool:
        """Whether what the person presses reaches the game by itself."""
        return self.by is not None and self.by is self._keys

    def __call__(self) -> Controls | None:
        """Return the person's controls while they drive, else None."""
        if self._pad is not None:
            at_hand = self._pad.read()  # always: its buttons are known from then on
            self._notice_whether_it_is_there(self._pad)
            if self._wants_back():
                self.give_back()
            elif self.by is None and at_hand.deflection > THRESHOLD:
                self._take(self._pad)
        by = self.by  # once: the keys' thread may change it
        return None if by is None else by.read().arbitrate()

    def _notice_whether_it_is_there(self, pad: Input) -> None:
        """Say once that a pad has gone, and give the wheel back: who drives with it drives no more."""
        unheard = pad.unheard()
        was_there, self._pad_is_there = self._pad_is_there, unheard is None
        if was_there and unheard is not None:
            _log.warning("the gamepad has gone (%s): nobody can take over with it until it is back", unheard)
            if self.by is pad:
                self.give_back()
        elif not was_there and unheard is None:
            _log.warning("the gamepad is back")

    def change_hands(self) -> None:
        """Take the wheel with the keys, or give it back; may be called from any thread."""
        if self.by is not None:
            self.give_back()
        elif self._keys is not None:
            self._take(self._keys)

    def give_back(self) -> None:
        """Let the network drive again; may be called from any thread."""
        if self.by is not None:
            self.by = None
            _log.warning("the network drives again")

    def _take(self, hands: Input) -> None:
        self.by = hands
        _log.warning("taken over; give the wheel back with %s, or with the pad's Back button", self._key)


@contextmanager
def open_takeover(
    keys: KeyMap, wheel: Wheel | None = None, hotkey: str = "f8", pad_map: PadMap | None = None
) -> Iterator[Takeover]:
    """Open what a person may take over with: the pads that are plugged in now, and the keys.

    Of pads that come later only one of a model that has gone is listened to: SDL cannot tell the others from the
    agent's own. What is missing is told in a line, and the rest is there all the same.

    Args:
        keys: Which drive the game.
        wheel: What they turn. Of a game that keys drive, the game's own wheel, as a person's recordings have it: the
            corrections are trained on with those. None: a steady hand, for a game that a pad drives.
        hotkey: Takes the wheel for them, and gives it back.
        pad_map: What lies where on a pad, beside steering and pedals; None: nothing.
    """
    with ExitStack() as stack:
        pad: GamepadInput | None = None
        with ExitStack() as attempt:
            try:
                pad = attempt.enter_context(GamepadInput(pad=pad_map))
                pad.keep_to_those_here()
                stack.push(attempt.pop_all())
            except ControllerError as exc:
                _log.warning("nobody can take over with a gamepad: %s", exc)
        by_keys: KeyboardInput | None = None
        try:
            by_keys = stack.enter_context(KeyboardInput(keys, wheel=wheel))
        except ControllerError as exc:
            _log.info("nobody can take over with the keys: %s", exc)
        takeover = Takeover(pad, by_keys, (lambda: False) if pad is None else pad.back_pressed, hotkey)
        if by_keys is not None:
            stack.enter_context(Hotkeys({hotkey: takeover.change_hands}))
        yield takeover
