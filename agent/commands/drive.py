"""``drive``: drives in real time; the game runs beside the agent."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import ENDINGS, exit_code, note, say, say_json
from agent.games.registry import find_game
from agent.settings.drive import DriveSettings

if TYPE_CHECKING:
    from agent.observers.base import TickObserver
    from agent.sessions.live import Lap
    from agent.system.pacing import TickStats


def _run(settings: DriveSettings, invocation: Invocation) -> int:
    in_a_window = find_game(settings.game).profile.capture is not None
    return _drive_window(settings, invocation) if in_a_window else _drive_live(settings, invocation)


def _drive_live(settings: DriveSettings, invocation: Invocation) -> int:
    from agent.sessions.live import drive_live

    def on_lap(lap: "Lap") -> None:
        if not invocation.json:
            say(_describe_lap(lap))

    drive = drive_live(settings, on_lap, note, _status_line)
    if invocation.json:
        say_json(drive.to_dict(invocation.started_ns))
    _say_health(settings, invocation, drive.health)
    returns = drive.returns
    if not invocation.json and len(returns) > 1:
        say(f"{len(returns)} laps: mean return {sum(returns) / len(returns):.1f}, minimum {min(returns):.1f}")
    return exit_code(drive.interrupted, drive.problems, drive.fault)


def _drive_window(settings: DriveSettings, invocation: Invocation) -> int:
    from agent.sessions.window_drive import drive_window

    drive = drive_window(settings, note, _status_line)
    if invocation.json:
        say_json(drive.to_dict(invocation.started_ns))
    else:
        say(_describe_timing(drive.summary.stats))
        counts = drive.captured
        say(f"  pictures {counts.grabbed}, repeated {counts.repeated}, black {counts.black}")
        if trouble := drive.summary.describe_trouble(drive.controls_expired):
            say(f"  {trouble}")
        for path in drive.files:
            say(f"  wrote {path}")
    _say_health(settings, invocation, drive.health)
    return exit_code(drive.interrupted, drive.summary.problems, drive.summary.fault)


def _status_line(stats: "TickStats") -> "Sequence[TickObserver]":
    from agent.observers.status import StatusLine

    return [StatusLine(stats)]


def _say_health(settings: DriveSettings, invocation: Invocation, health: str) -> None:
    if health and not invocation.json:
        say(f"wrote {settings.health}; {health}")


def _describe_lap(lap: "Lap") -> str:
    state = lap.state
    lines = [
        f"track {lap.seed}: return {state.episode_return:.1f}, {ENDINGS[state.outcome]} after {state.time_s:.1f} s, "
        f"{state.progress:.0%} of the track",
        f"  {_describe_timing(lap.summary.stats)}",
    ]
    if trouble := lap.summary.describe_trouble(lap.controls_expired):
        lines.append(f"  {trouble}")
    lines += [f"  wrote {path}" for path in lap.files]
    return "\n".join(lines + [f"  {problem}" for problem in lap.summary.problems])


def _describe_timing(stats: "TickStats") -> str:
    timing = stats.summarise()
    return (
        f"{timing.rate_hz:.2f} Hz of {1 / timing.period_s:g} Hz | period {timing.interval_mean_s * 1e3:.2f} ± "
        f"{timing.interval_sd_s * 1e3:.2f} ms | latency p50 {timing.latency_p50_s * 1e3:.0f} ms, "
        f"p99 {timing.latency_p99_s * 1e3:.0f} ms | missed {stats.missed}/{stats.deadlines}"
    )


COMMAND = Command(
    settings=DriveSettings,
    run=_run,
    example="python -m agent drive --laps 3 --video lap.mp4",
    notes=(
        "A lap ends when it is finished, the car has left the field or the game's time is up. A game in a window is\n"
        "driven until Ctrl-C, or for --seconds; F8 (or the profile's key) gives you the wheel, and takes it back.\n"
        "exit codes: 0 done, 1 an error, 3 a fault ended the drive, 130 Ctrl-C; controls are neutral at the end."
    ),
    json=JSON,
)
