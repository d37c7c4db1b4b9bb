"""``games run``: starts a game in its own window, drives it there, and takes everything down."""

from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, EXIT_ERROR, EXIT_FAULT, note, say, say_json
from agent.settings.game_run import GameRunSettings

if TYPE_CHECKING:
    from agent.sessions.game_run import GameRun


def _run(settings: GameRunSettings, invocation: Invocation) -> int:
    from agent.sessions.game_run import run_game

    run = run_game(settings, note)
    if invocation.json:
        say_json(run.to_dict())
    else:
        say(_describe(run))
    for problem in run.drive["problems"]:
        note(f"error: an output of the drive failed: {problem}")
    if run.results.finished:
        return EXIT_ERROR if run.drive["problems"] else EXIT_DONE
    if run.drive["fault"] is not None and run.game_alive:
        note(f"fault, controls neutral: {run.drive['fault']}")
        return EXIT_FAULT
    if not run.game_alive:
        note("error: the game ended by itself before it was finished, expected it to run on. Start it by hand.")
    return EXIT_ERROR


def _describe(run: "GameRun") -> str:
    drive, timing, results = run.drive, run.drive["timing"], run.results
    how = f"finished in {results.seconds:.2f} s" if results.seconds is not None else "not finished"
    lines = [f"{run.game}, {run.options.track}: {how}"]
    if results.laps_s:
        lines.append(f"  laps, s: {', '.join(f'{seconds:.1f}' for seconds in results.laps_s)}")
    lines += [f"  {name} {value:.2f}" for name, value in results.figures.items()]
    lines += [
        f"  {drive['predictions']} decisions, {drive['predictions_per_second']:.1f} a second, missed deadlines "
        f"{timing['missed_deadlines']}; latency p50 {timing['latency_p50_s'] * 1e3:.0f} ms, p99 "
        f"{timing['latency_p99_s'] * 1e3:.0f} ms",
        f"  the game drew {run.pictures_per_second:.1f} pictures a second; stuck {drive['stuck_events']} times, "
        f"freed by {drive['stuck_attempts']} attempts",
    ]
    return "\n".join([*lines, *(f"  wrote {path}" for path in drive["files"])])


COMMAND = Command(
    settings=GameRunSettings,
    run=_run,
    example="python -m agent games run supertuxkart --track lighthouse --video lap.mp4",
    notes=(
        "It starts a desktop that nobody sees (Linux, `apt install xvfb openbox`) and the game on it, and drives the\n"
        "game there by the screen and by keys, as `python -m agent drive --game GAME` does. Half of the processor\n"
        "cores are for the game, the others for the network (--cores). Your own settings and records of the game stay\n"
        "as they are. Whatever ends the program, the game and the desktop end too.\n"
        "exit codes: 0 the game was finished, 1 it was not, or an error, 3 a fault ended the drive, 130 Ctrl-C."
    ),
    json=JSON,
)
