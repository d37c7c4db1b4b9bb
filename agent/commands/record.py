"""``record``: episodes to train from or to replay, of the network, the expert or a person driving."""

import math
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import ENDINGS, EXIT_DONE, exit_code, note, say, say_json
from agent.contract.errors import AgentError, ControllerError, EpisodeError
from agent.contract.profile import GameProfile
from agent.games.registry import Game, find_expert, find_game
from agent.sessions.opening import nearest_hold_ticks, open_policy
from agent.settings.record import KEYS, RecordSettings
from agent.system.pacing import Pacer, clock_ns

if TYPE_CHECKING:
    from agent.inputs.base import Input
    from agent.policies.base import Policy
    from agent.sessions.record_person import Demonstration

_LINE_PERIOD_S = 0.5


def _run(settings: RecordSettings, invocation: Invocation) -> int:
    game = find_game(settings.game)
    if game.profile.capture is not None and settings.driver is None:
        return _record_person(settings, invocation, game.profile)
    return _record_simulator(settings, game)


def _record_simulator(settings: RecordSettings, game: Game) -> int:
    from agent.policies.expert import ExpertPolicy
    from agent.sessions.record_simulator import record_episodes

    seeds = range(settings.seed_start, settings.seed_start + settings.episodes)
    with closing(game.simulator_maker()()) as simulator, ExitStack() as stack:
        policy: Policy
        if settings.driver == "expert":
            policy = ExpertPolicy(find_expert()(simulator), simulator)
        else:
            policy = stack.enter_context(closing(open_policy(settings, game.name, note)))
        hold_ticks = nearest_hold_ticks(policy.spec.rate_hz, simulator, note)
        for path, state in record_episodes(simulator, policy, seeds, hold_ticks, settings.out):
            say(f"{path}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after {state.time_s:.1f} s")
    return EXIT_DONE


def _record_person(settings: RecordSettings, invocation: Invocation, profile: GameProfile) -> int:
    from agent.capture.screen import ScreenSource
    from agent.contract.episodes.columns import EpisodeHeader
    from agent.inputs.sampling import ControlTrack, Sampler
    from agent.sessions.record_person import Demonstration, describe

    track = ControlTrack()
    header = EpisodeHeader(profile.name, "human", profile.rate_hz, profile_notes=profile.notes)
    pacer = Pacer(1.0 / profile.rate_hz)
    session: Demonstration | None = None
    interrupted, failure = False, None
    try:
        with ExitStack() as stack:
            # A person may wait as long as they like: what they do at a standstill is how driving off is learnt.
            source = stack.enter_context(ScreenSource(settings.where_to_look(profile), frozen_s=math.inf))
            hands, averaged_s = _choose_input(settings.input, profile)
            sampler = stack.enter_context(Sampler(hands, track))
            opened = stack.enter_context(
                Demonstration(source, track, header, settings.out, started=not settings.wait, averaged_s=averaged_s)
            )
            stack.enter_context(_hotkeys(opened, settings.wait))
            # From when something can be recorded, however long the opening took.
            stop_ns = math.inf if settings.seconds is None else clock_ns() + settings.seconds * 1e9
            session, line = opened, _StatusLine(opened)

            def each_tick() -> None:
                sampler.check()
                line.show()

            try:
                session.run(pacer, lambda: clock_ns() >= stop_ns, each_tick)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                line.end()
    except AgentError as exc:  # a window that was closed, a full disk: what was recorded is told all the same
        if session is None:
            raise
        failure = exc
    timing = pacer.stats.summarise()
    if invocation.json:
        files = [str(path) for path in session.files]
        say_json({"game": profile.name, **asdict(session.counts), "timing": asdict(timing), "files": files})
    else:
        say(describe(session.counts, "done"))
        for path in session.files:
            say(f"  wrote {path}")
    if failure is not None:
        raise failure
    if not session.files and not settings.wait:
        raise EpisodeError("nothing was recorded, expected you to drive with the game's window in use; see above.")
    return exit_code(interrupted and settings.seconds is not None, [])


@contextmanager
def _hotkeys(session: "Demonstration", are_needed: bool) -> Iterator[None]:
    """Let the hotkeys act on the recording; say so where keys cannot be heard.

    Raises:
        ControllerError: If they cannot, and nothing can be recorded without them.
    """
    from agent.inputs.keyboard import Hotkeys

    actions = (session.start_or_stop, session.pause_or_go_on, session.discard, session.mark)
    with ExitStack() as stack:
        try:
            stack.enter_context(Hotkeys(dict(zip((key.lower() for key in KEYS.values()), actions, strict=True))))
            note(", ".join(f"{key} {what}" for what, key in KEYS.items()) + "; Ctrl-C ends")
        except ControllerError as exc:
            if are_needed:
                raise
            note(f"no hotkeys: {exc}")
        yield


class _StatusLine:
    """How the recording stands, in one line of the terminal; nothing where there is none."""

    def __init__(self, session: "Demonstration") -> None:
        self._session = session
        self._next_ns = 0

    def show(self) -> None:
        from agent.sessions.record_person import describe, state_of

        if sys.stderr.isatty() and clock_ns() >= self._next_ns:
            self._next_ns = clock_ns() + round(_LINE_PERIOD_S * 1e9)
            columns = shutil.get_terminal_size().columns - 1
            line = describe(self._session.counts, state_of(self._session))
            sys.stderr.write("\r" + line[:columns].ljust(columns))
            sys.stderr.flush()

    def end(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\n")


def _choose_input(chosen: str | None, profile: GameProfile) -> "tuple[Input, float]":
    """Return what the person drives with, and over how long it is to be averaged.

    Keys are taken for what :class:`agent.controllers.keyboard.Keyboard` would press them for: where a game is driven by
    keys, for the game's own wheel and a share of the time; where it is driven by a pad, for a steady hand on one.
    """
    from agent.inputs.gamepad import GamepadInput
    from agent.inputs.keyboard import KeyboardInput
    from agent.inputs.sampling import KEYS_AVERAGED_S
    from agent.inputs.wheels import GameWheel

    if chosen is None:
        with GamepadInput() as pad:
            unheard = pad.unheard()
            chosen = "gamepad" if unheard is None else "keyboard"
            note(f"you drive with the {pad.name}" if unheard is None else f"{unheard}: you drive with the keys")
    if chosen == "gamepad":
        return GamepadInput(), 0.0
    if profile.controller == "gamepad":
        return KeyboardInput(profile.keys), 0.0
    return KeyboardInput(profile.keys, wheel=GameWheel(profile.keys.steering_ramp)), KEYS_AVERAGED_S


COMMAND = Command(
    name="record",
    summary="record yourself driving a game in a window, or the network driving the embedded one",
    settings=RecordSettings,
    run=_run,
    example="python -m agent record --game gta5 --out episodes",
    json=JSON,
)
