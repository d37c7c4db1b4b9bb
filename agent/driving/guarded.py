"""The controller of a game in a window: the gamepad or keys that its profile names, held by a guard process."""

import functools

from agent.contract.profile import GameProfile
from agent.controllers.guard.client import GuardedController
from agent.inputs.wheels import GameWheel


def guarded_controller(
    profile: GameProfile, kind: str | None = None, takeover: bool = True, taken: bool = False
) -> GuardedController:
    """Return the controller of a game; the guard releases the controls when this process is silent. Not yet open.

    Args:
        profile: The game's facts.
        kind: ``gamepad`` or ``keyboard``; None for the profile's own.
        takeover: Whether a person can take over.
        taken: Whether the person has the wheel at first.
    """
    by_keys = (kind or profile.controller) == "keyboard"
    wheel = GameWheel(profile.keys.steering_ramp) if by_keys else None
    make_hands = None
    if takeover:
        from agent.driving.takeover import open_takeover

        hotkey = profile.hotkeys.takeover
        make_hands = functools.partial(open_takeover, profile.keys, wheel, hotkey, profile.pad, taken)
    if by_keys:
        from agent.controllers.keyboard import Keyboard, release_keys

        pressed = () if profile.stuck is None or not profile.stuck.press else (profile.stuck.press,)
        let_go = functools.partial(release_keys, profile.keys, pressed)
        return GuardedController(functools.partial(Keyboard, profile.keys, further=pressed), make_hands, let_go)

    from agent.controllers.gamepad import Gamepad

    return GuardedController(functools.partial(Gamepad, profile.pad), make_hands)
