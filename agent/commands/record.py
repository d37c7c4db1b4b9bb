"""``record``: episodes to train from or to replay, of the network, the expert or a person driving."""

import argparse
import math
import shutil
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.numbers import at_least_one
from agent.commands.options import (
    add_capture_options,
    add_command,
    add_engine_options,
    add_json_option,
    add_seed_start_option,
    positive,
    where_to_look,
)
from agent.commands.wiring import ENDINGS, EXIT_DONE, exit_code, make_policy, nearest_hold_ticks, note, say, say_json
from agent.contract.errors import ControllerError
from agent.contract.profile import GameProfile
from agent.games.registry import Game, find_expert, find_game
from agent.system.pacing import Pacer, clock_ns

if TYPE_CHECKING:
    from agent.inputs.base import Input
    from agent.policies.base import Policy

KEYS = {"start": "F9", "pause": "F10", "discard": "F11", "mark": "F12"}
"""Keys that games and desktops leave alone; they work whatever window has the focus."""

_LINE_PERIOD_S = 0.5


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = add_command(
        commands,
        "record",
        _run,
        "record yourself driving a game in a window, or the network driving the embedded one",
        "python -m agent record --game gta5 --out episodes",
    )
    add_engine_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the episodes")
    person = parser.add_argument_group("you drive (games in a window)")
    person.add_argument(
        "--input", choices=("gamepad", "keyboard"), help="what you drive with (default: a pad if one is plugged in)"
    )
    person.add_argument("--seconds", type=positive, metavar="T", help="end after T seconds (default: Ctrl-C)")
    person.add_argument("--wait", action="store_true", help=f"record nothing until {KEYS['start']} is pressed")
    add_capture_options(parser)
    add_json_option(parser)
    simulator = parser.add_argument_group("somebody else drives (the embedded game, which waits)")
    simulator.add_argument(
        "--driver",
        choices=("policy", "expert"),
        help="who drives: policy, the network; or expert, a program that reads the track instead of the picture, for "
        "which the engine options are without effect (default: policy, and a person where the game is in a window)",
    )
    simulator.add_argument(
        "--episodes", type=at_least_one, default=1, metavar="N", help="number of tracks (default: 1)"
    )
    add_seed_start_option(simulator)


def _run(arguments: argparse.Namespace) -> int:
    game = find_game(arguments.game)
    if game.profile.capture is not None and arguments.driver is None:
        return _record_person(arguments, game.profile)
    return _record_simulator(arguments, game)


def _record_simulator(arguments: argparse.Namespace, game: Game) -> int:
    from agent.policies.expert import ExpertPolicy
    from agent.sessions.record_simulator import record_episodes

    seeds = range(arguments.seed_start, arguments.seed_start + arguments.episodes)
    with closing(game.simulator_maker()()) as simulator, ExitStack() as stack:
        policy: Policy
        if arguments.driver == "expert":
            policy = ExpertPolicy(find_expert()(simulator), simulator)
        else:
            policy = stack.enter_context(closing(make_policy(arguments, game.name)))
        hold_ticks = nearest_hold_ticks(policy.spec.rate_hz, simulator)
        for path, state in record_episodes(simulator, policy, seeds, hold_ticks, arguments.out):
            say(f"{path}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after {state.time_s:.1f} s")
    return EXIT_DONE


def _record_person(arguments: argparse.Namespace, profile: GameProfile) -> int:
    from agent.capture.screen import ScreenSource
    from agent.contract.episodes.columns import EpisodeHeader
    from agent.inputs.keyboard import Hotkeys
    from agent.inputs.sampling import ControlTrack, Sampler
    from agent.sessions.record_person import Demonstration, describe, state_of

    track = ControlTrack()
    header = EpisodeHeader(profile.name, "human", profile.rate_hz, profile_notes=profile.notes)
    pacer = Pacer(1.0 / profile.rate_hz)
    stop_ns = math.inf if arguments.seconds is None else clock_ns() + arguments.seconds * 1e9
    interrupted = False
    with ExitStack() as stack:
        # A person may wait as long as they like: what they do at a standstill is how driving off is learnt.
        source = stack.enter_context(ScreenSource(where_to_look(arguments, profile), frozen_s=math.inf))
        hands, averaged_s = _choose_input(arguments, profile)
        sampler = stack.enter_context(Sampler(hands, track))
        session = stack.enter_context(
            Demonstration(source, track, header, arguments.out, started=not arguments.wait, averaged_s=averaged_s)
        )
        try:
            actions = (session.start_or_stop, session.pause_or_go_on, session.discard, session.mark)
            stack.enter_context(Hotkeys(dict(zip((key.lower() for key in KEYS.values()), actions, strict=True))))
            note(", ".join(f"{key} {what}" for what, key in KEYS.items()) + "; Ctrl-C ends")
        except ControllerError as exc:
            if arguments.wait:
                raise
            note(f"no hotkeys: {exc}")
        next_line_ns = 0

        def each_tick() -> None:
            nonlocal next_line_ns
            sampler.check()
            if sys.stderr.isatty() and clock_ns() >= next_line_ns:
                next_line_ns = clock_ns() + round(_LINE_PERIOD_S * 1e9)
                columns = shutil.get_terminal_size().columns - 1
                sys.stderr.write("\r" + describe(session.counts, state_of(session))[:columns].ljust(columns))
                sys.stderr.flush()

        try:
            session.run(pacer, lambda: clock_ns() >= stop_ns, each_tick)
        except KeyboardInterrupt:
            interrupted = True
        if sys.stderr.isatty():
            sys.stderr.write("\n")
    timing = pacer.stats.summarise()
    if arguments.json:
        files = [str(path) for path in session.files]
        say_json({"game": profile.name, **asdict(session.counts), "timing": asdict(timing), "files": files})
    else:
        say(describe(session.counts, "done"))
        for path in session.files:
            say(f"  wrote {path}")
    return exit_code(interrupted and arguments.seconds is not None, [])


def _choose_input(arguments: argparse.Namespace, profile: GameProfile) -> "tuple[Input, float]":
    """Return what the person drives with, and over how long it is to be averaged.

    Keys are taken for what :class:`agent.controllers.keyboard.Keyboard` would press them for: where a game is driven by
    keys, for the game's own wheel and a share of the time; where it is driven by a pad, for a steady hand on one.
    """
    from agent.inputs.gamepad import GamepadInput
    from agent.inputs.keyboard import KeyboardInput
    from agent.inputs.sampling import KEYS_AVERAGED_S
    from agent.inputs.wheels import GameWheel

    chosen: str | None = arguments.input
    if chosen is None:
        with GamepadInput() as pad:
            chosen = "gamepad" if pad.name is not None else "keyboard"
            note(f"you drive with the {pad.name}" if pad.name is not None else "no gamepad is plugged in: keys it is")
    if chosen == "gamepad":
        return GamepadInput(), 0.0
    if profile.controller == "gamepad":
        return KeyboardInput(profile.keys), 0.0
    return KeyboardInput(profile.keys, wheel=GameWheel(profile.keys.steering_ramp)), KEYS_AVERAGED_S
