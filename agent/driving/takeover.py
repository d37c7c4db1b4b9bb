"""A person takes the wheel while the agent drives, and gives it back.

The game's profile names the key for it: ``takeover`` in its ``[hotkeys]``. The default is in ``HotkeyMap``
(``agent.contract.profile``).
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.contract.profile import HotkeyMap, KeyMap, PadMap
from agent.inputs.base import InputDevice
from agent.inputs.gamepad import GamepadInput
from agent.inputs.keyboard import Hotkeys, KeyboardInput
from agent.inputs.resting import RestingPlace
from agent.inputs.wheels import Wheel
from agent.system.pacing import clock_ns

_log = logging.getLogger(__name__)

_HOTKEY = HotkeyMap().takeover
THRESHOLD = 0.25
"""How far a stick or pedal must move from its rest to take over. Full travel is 1. A resting hand moves a stick less
than this."""


class Takeover:
    """Lets a person take over: by moving a stick or pedal past the threshold, or with the keys after the hotkey.

    A game driven by a pad listens to the agent's pad, not to the person's. So the person's controls must be sent to it:
    by the loop or, for a game in a window, by the guard. The person's keys reach the game directly.

    Args:
        pad: The person's gamepad, open, whether or not one is plugged in; None if gamepads cannot be read.
        keys: The keys that drive the game; None if the keyboard cannot be read.
        wants_back: Returns whether the person holds the button down that gives the wheel back. With a pad, it is asked
            at every call.
        hotkey: Name of the key that calls :meth:`change_hands`; used in messages.
        clock: Returns the time in nanoseconds.

    Attributes:
        by: The device that the person drives with; None while nobody has taken over.
    """

    def __init__(
        self,
        pad: InputDevice | None = None,
        keys: InputDevice | None = None,
        wants_back: Callable[[], bool] = lambda: False,
        hotkey: str = _HOTKEY,
        clock: Callable[[], int] = clock_ns,
    ) -> None:
        self._key = hotkey.upper()
        self.by: InputDevice | None = None
        self._pad = pad
        self._keys = keys
        self._wants_back = wants_back
        self._clock = clock
        at_hand = NEUTRAL if pad is None else pad.read()
        self._pad_is_there = pad is not None and pad.unheard() is None
        self._rest = self._resting_place(at_hand)

    @property
    def reach_the_game(self) -> bool:
        """Whether the person drives with keys, which reach the game directly: then nothing is sent."""
        return self.by is not None and self.by is self._keys

    def __call__(self) -> Controls | None:
        """Return the person's controls while they drive, else None."""
        if self._pad is not None:
            at_hand = self._pad.read()  # Even when nobody drives with it: reading is also what updates its buttons.
            self._notice_whether_it_is_there(self._pad, at_hand)
            moved = self._rest.moved(at_hand, self._clock()) if self._pad_is_there else 0.0
            if self._wants_back():
                self.give_back()
            elif self.by is None and moved > THRESHOLD:
                self._take(self._pad)
        by = self.by  # Read once: the hotkey's thread may change it at any moment.
        return None if by is None else by.read().arbitrate()

    def _notice_whether_it_is_there(self, pad: InputDevice, at_hand: Controls) -> None:
        """Log once that the pad has gone, or is back; give the wheel back if the person was driving with it.

        A pad that is back shows its last position until it reports a new one. That old position must not take over, so
        it counts as the pad's rest.

        This asks the pad at every call, because a pad may go at any time. Asking is cheap: ``read`` has just looked.
        """
        unheard = pad.unheard()
        was_there, self._pad_is_there = self._pad_is_there, unheard is None
        if was_there and unheard is not None:
            _log.warning("the gamepad has gone (%s): nobody can take over with it until it is back", unheard)
            if self.by is pad:
                self.give_back()
        elif not was_there and unheard is None:
            _log.warning("the gamepad is back")
            self._rest = self._resting_place(at_hand)

    def _resting_place(self, at_hand: Controls) -> RestingPlace:
        rest = RestingPlace(at_hand, self._clock())
        if beside := rest.describe(THRESHOLD):
            _log.warning("the gamepad rests at %s: move it from there to take over", beside)
        return rest

    def change_hands(self) -> None:
        """Take the wheel with the keys, or give it back; may be called from any thread."""
        if self.by is not None:
            self.give_back()
        elif self._keys is not None:
            self._take(self._keys)

    def begin(self) -> None:
        """Take the wheel before the drive: with the pad if there is one, else with the keys."""
        if self._pad is not None and self._pad_is_there:
            self._take(self._pad)
        elif self._keys is not None:
            self._take(self._keys)

    def give_back(self) -> None:
        """Let the network drive again; may be called from any thread."""
        if self.by is not None:
            self.by = None
            _log.warning("the network drives again")

    def _take(self, hands: InputDevice) -> None:
        self.by = hands
        ways = [self._key] * (self._keys is not None) + ["the pad's Back button"] * self._pad_is_there
        _log.warning("taken over; give the wheel back with %s", " or ".join(ways))


@contextmanager
def open_takeover(
    keys: KeyMap,
    wheel: Wheel | None = None,
    hotkey: str = _HOTKEY,
    pad_map: PadMap | None = None,
    taken: bool = False,
) -> Iterator[Takeover]:
    """Open the devices that a person may take over with: the pads plugged in now, and the keys.

    A pad plugged in later is used only if it replaces a pad of the same model. Any other new pad could be the agent's
    own virtual pad, and SDL cannot tell the two apart. If a kind of device cannot be opened, one line is logged, and
    the others still work.

    Args:
        keys: The keys that drive the game.
        wheel: How steering keys become a steering value. With keys, the game decides how fast its wheel turns: pass a
            model of that wheel, so that keys become steering as in a recording. None: a wheel that turns
            evenly, for a game driven by a pad.
        hotkey: Name of the hotkey. It lets the person drive with the keys, or gives the wheel back.
        pad_map: Which sticks and buttons of the pad control the additional axes, those other than steering and pedals;
            None if there are none.
        taken: Whether the person drives from the beginning: with the pad if there is one, else with the keys.
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
        if taken:
            takeover.begin()
        yield takeover
