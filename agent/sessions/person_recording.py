"""A person recorded, from settings to episodes: what ``python -m agent record`` does for a game in a window."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.capture.screen import ScreenSource
from agent.contract.controls import with_standard_axes
from agent.contract.episodes.columns import EpisodeHeader
from agent.contract.errors import AgentError, ControllerError
from agent.contract.profile import GameProfile, HotkeyMap
from agent.games.registry import find_game
from agent.inputs.base import InputDevice
from agent.inputs.gamepad import GamepadInput
from agent.inputs.keyboard import Hotkeys, KeyboardInput
from agent.inputs.sampling import KEYS_AVERAGED_S, ControlTrack, Sampler
from agent.inputs.wheels import GameWheel
from agent.sessions.opening import Note, ignore
from agent.sessions.pages import page_of_person
from agent.sessions.record_person import Demonstration, DemonstrationCounts
from agent.settings.record import RecordSettings
from agent.system.pacing import Pacer, Timing, clock_ns


@dataclass(frozen=True, slots=True)
class PersonRecording:
    """The result of recording a person.

    Attributes:
        game: The game's name.
        counts: What was recorded.
        timing: The timing figures.
        files: The episodes' files.
        interrupted: Whether Ctrl-C ended it.
        failure: The failure that ended it, such as a closed window or a full disk.
    """

    game: str
    counts: DemonstrationCounts
    timing: Timing
    files: tuple[Path, ...]
    interrupted: bool
    failure: AgentError | None


def record_person(
    settings: RecordSettings, on_tick: Callable[[Demonstration], None] = lambda session: None, note: Note = ignore
) -> PersonRecording:
    """Record a person who drives a game in a window, until Ctrl-C or for ``settings.seconds``.

    Args:
        settings: Which game, what they drive with, and where the episodes go.
        on_tick: Called with the recording on every tick.
        note: Called with progress and notes for the user, one line at a time.

    Raises:
        AgentError: If it could not begin: no such game or window, no device to drive with, no writable folder.
    """
    profile = find_game(settings.game).profile
    track = ControlTrack()
    header = EpisodeHeader(
        profile.name, "human", profile.rate_hz, profile_notes=profile.notes, axes=with_standard_axes(profile.axes)
    )
    pacer = Pacer(1.0 / profile.rate_hz)
    session: Demonstration | None = None
    interrupted, failure = False, None
    try:
        with ExitStack() as stack:
            # A person may wait as long as they like. Their controls at a standstill teach the network to drive off.
            source = stack.enter_context(ScreenSource(settings.where_to_look(profile), frozen_s=math.inf))
            hands, averaged_s = choose_input(settings.input, profile, note)
            sampler = stack.enter_context(Sampler(hands, track))
            page = stack.enter_context(page_of_person(settings, profile, profile.rate_hz, settings.out, note))
            opened = stack.enter_context(
                Demonstration(
                    source, track, header, settings.out, started=not settings.wait, averaged_s=averaged_s, page=page
                )
            )
            if page is not None:
                stack.enter_context(page.lap(pacer.stats))
            stack.enter_context(_hotkeys(opened, profile.hotkeys, settings.wait, note))
            # Time counts from the moment when recording is possible, however long the opening took.
            stop_ns = math.inf if settings.seconds is None else clock_ns() + settings.seconds * 1e9
            session = opened

            def each_tick() -> None:
                sampler.check()
                on_tick(opened)

            try:
                session.run(pacer, lambda: clock_ns() >= stop_ns, each_tick)
            except KeyboardInterrupt:
                interrupted = True
    except AgentError as exc:  # such as a closed window or a full disk: the recorded part is still reported
        if session is None:
            raise
        failure = exc
    return PersonRecording(
        profile.name, session.counts, pacer.stats.summarise(), tuple(session.files), interrupted, failure
    )


@contextmanager
def _hotkeys(session: Demonstration, keys: HotkeyMap, are_needed: bool, note: Note) -> Iterator[None]:
    """Let the hotkeys act on the recording; note it if keys cannot be heard.

    Raises:
        ControllerError: If keys cannot be heard, and nothing can be recorded without them.
    """
    actions = {
        keys.start: session.start_or_stop,
        keys.pause: session.pause_or_go_on,
        keys.discard: session.discard,
        keys.mark: session.mark,
    }
    with ExitStack() as stack:
        try:
            stack.enter_context(Hotkeys(actions))
            orders = ("start", "pause", "discard", "mark")
            note(", ".join(f"{getattr(keys, what).upper()} {what}" for what in orders) + "; Ctrl-C ends")
        except ControllerError as exc:
            if are_needed:
                raise
            note(f"no hotkeys: {exc}")
        yield


def choose_input(chosen: str | None, profile: GameProfile, note: Note = ignore) -> tuple[InputDevice, float]:
    """Return the device that the person drives with, and over how many seconds its controls are averaged.

    Keys count as the controls for which :class:`agent.controllers.keyboard.Keyboard` would press them. In a game driven
    by keys, they turn the game's own wheel, and a pedal is a share of the time. In a game driven by a pad, they count
    as a steady hand on the pad.
    """
    if chosen is None:
        with GamepadInput() as pad:
            unheard = pad.unheard()
            chosen = "gamepad" if unheard is None else "keyboard"
            note(f"you drive with the {pad.name}" if unheard is None else f"{unheard}: you drive with the keys")
    if chosen == "gamepad":
        return GamepadInput(pad=profile.pad), 0.0
    if profile.controller == "gamepad":
        return KeyboardInput(profile.keys), 0.0
    return KeyboardInput(profile.keys, wheel=GameWheel(profile.keys.steering_ramp)), KEYS_AVERAGED_S
