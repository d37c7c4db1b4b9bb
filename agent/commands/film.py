"""``film``: several models on one track, side by side."""

from contextlib import ExitStack, closing

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, say
from agent.contract.errors import AgentError, SpecError
from agent.contract.spec import ModelSpec
from agent.games.registry import find_game
from agent.sessions.opening import nearest_hold_ticks, open_policy
from agent.settings.film import FilmSettings
from agent.settings.shared import EngineSettings


def _run(settings: FilmSettings, invocation: Invocation) -> int:
    from agent.observers.video import ANIMATION_FRAMES, FilmFile
    from agent.sessions.film import drive_for_film, side_by_side

    game = find_game(settings.game)
    folders = [folder.resolve() for folder in settings.models]
    same_names = len({folder.name for folder in folders}) < len(folders)
    films = []
    with closing(game.simulator_maker()()) as simulator, ExitStack() as stack:
        rates_hz = {ModelSpec.load(folder).rate_hz for folder in folders}
        if len(rates_hz) > 1:
            listed = ", ".join(f"{rate:g}" for rate in sorted(rates_hz))
            raise SpecError(f"the models decide at {listed} Hz, expected one rate for one film. Film them apart.")
        hold_ticks = nearest_hold_ticks(rates_hz.pop(), simulator, note)
        rate_hz = 1.0 / (hold_ticks * simulator.tick_s)
        pictures = settings.seconds * rate_hz / settings.every
        if settings.out.suffix.lower() != ".mp4" and pictures > ANIMATION_FRAMES:
            raise AgentError(
                f"up to {pictures:.0f} pictures, an animated one holds {ANIMATION_FRAMES}. Film fewer --seconds, keep "
                "only --every 2nd, or write an .mp4."
            )
        film = stack.enter_context(FilmFile(settings.out, rate_hz / settings.every))
        for folder in folders:
            chosen = EngineSettings(weights=folder, engine=settings.engine, threads=settings.threads)
            caption = f"{folder.parent.name}/{folder.name}" if same_names else folder.name
            with closing(open_policy(chosen, game.name, note)) as policy:
                films.append(
                    drive_for_film(
                        simulator, policy, settings.seed, hold_ticks, caption, settings.scale, settings.seconds
                    )
                )
            state = simulator.state
            say(f"{folder}: {state.outcome} after {state.time_s:.1f} s, return {state.episode_return:.1f}")
        for picture in side_by_side(films, settings.every):
            film.write(picture)
    return EXIT_DONE


COMMAND = Command(
    name="film",
    summary="film several models on one track, side by side: the stages of a training, say",
    settings=FilmSettings,
    run=_run,
    example="python -m agent film runs/mine/stages/* --seed 7 --out stages.webp",
)
