"""``play``: the embedded game in a window, for people and for agents that see only pixels."""

from agent.commands.options import Command, Invocation
from agent.commands.wiring import ENDINGS, EXIT_DONE, note, say
from agent.settings.play import PlaySettings

_KEYS = """\
The left stick steers, the right trigger is the throttle, the left trigger the brake. The arrow keys and WASD work too.
R starts the lap again, Escape ends it. A lap's clock starts when you first steer or accelerate."""


def _run(settings: PlaySettings, invocation: Invocation) -> int:
    from agent.sessions.play import play_carracing

    for seed, state in play_carracing(settings, note):
        say(
            f"track {seed}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after "
            f"{state.time_s:.1f} s, {state.progress:.0%} of the track"
        )
    return EXIT_DONE


COMMAND = Command(
    settings=PlaySettings,
    run=_run,
    example="python -m agent play carracing --seed 7",
    notes=_KEYS,
)
