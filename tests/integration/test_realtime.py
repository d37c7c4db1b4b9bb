"""The game in its own process: clock, pictures, controls, and every way to end."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from agent.contract.controls import AXIS_NAMES, NEUTRAL, Controls
from agent.contract.errors import GameError
from agent.contract.observation import Pixels
from agent.contract.profile import GameProfile
from agent.contract.spec import ModelSpec
from agent.controllers.base import EXPIRY_S
from agent.engines.constant import ConstantEngine
from agent.games.base import DriveState, Outcome
from agent.games.realtime.game import RealTimeGame
from agent.games.registry import find_game
from agent.observers.base import TickRecord
from agent.policies.network import NetworkPolicy
from agent.sessions.evaluation import track_result
from agent.sessions.live import drive_laps
from agent.system.pacing import clock_ns
from agent.system.ring import Ring

REPOSITORY = Path(__file__).parents[2]


class CountingGame:
    """Counts ticks, paints the count, and reports the controls it feels as telemetry."""

    profile = GameProfile("counting", "Counting", 25.0)
    tick_s = 0.02
    drawing_s = 0.0
    last_tick: int | None = None

    def __init__(self) -> None:
        self.reset(0)

    @property
    def state(self) -> DriveState:
        outcome: Outcome = "lap" if self.ticks == self.last_tick else "driving"
        telemetry = {"seed": float(self.seed), **dict(zip(AXIS_NAMES, self.controls.values, strict=True))}
        return DriveState(self.ticks * self.tick_s, 10.0 * self.ticks, 0.5, outcome, 3.0, telemetry)

    def reset(self, seed: int) -> None:
        self.seed = seed
        self.ticks = 0
        self.controls = NEUTRAL

    def advance(self, controls: Controls, ticks: int = 1) -> None:
        self.controls = controls
        self.ticks += ticks

    def render(self) -> Pixels:
        time.sleep(self.drawing_s)
        return np.full((6, 8, 4), self.ticks % 256, np.uint8)

    def close(self) -> None:
        pass


class SlowDrawingGame(CountingGame):
    drawing_s = 0.07


class ShortGame(CountingGame):
    last_tick = 5


class CarriedGame(CountingGame):
    """Has named tracks; carries the car back onto the road at tick 3, and ends at tick 5."""

    last_tick = 5

    @property
    def state(self) -> DriveState:
        return replace(
            super().state,
            track=("lighthouse", "hacienda")[self.seed % 2],
            in_control=self.ticks != 3,
            figures={"rescues": float(self.ticks >= 3), "off_track_share": self.ticks / 10},
        )


class FrozenCarriedGame(CarriedGame):
    """Ends at tick 3, out of control."""

    last_tick = 3


class CrashingGame(CountingGame):
    def advance(self, controls: Controls, ticks: int = 1) -> None:
        raise RuntimeError("the wheels came off")


class StillbornGame(CountingGame):
    def __init__(self) -> None:
        raise GameError("no such circuit, expected another. Pick one.")


class VanishingGame(CountingGame):
    def __init__(self) -> None:
        os._exit(7)


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def ring_of(shape: tuple[int, ...]) -> Ring[np.int64]:
    return Ring(memoryview(bytearray(Ring.size(shape, np.int64))), 0, shape, np.int64)


def test_ring_delivers_the_newest_array_with_its_number_and_stamp() -> None:
    ring = ring_of((3,))
    assert ring.read() is None
    for value in range(1, 11):
        ring.write([value] * 3, stamp_ns=100 * value)
    newest = ring.read()
    assert newest is not None
    sequence, stamp_ns, array = newest
    assert (sequence, stamp_ns, array.tolist()) == (10, 1000, [10, 10, 10])


def test_ring_never_delivers_an_array_that_was_overwritten_while_it_was_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = ring_of((3,))
    ring.write([1, 1, 1], stamp_ns=1)

    class Overtaken:
        """Stands in for the slots: the writer laps the reader in the middle of its first copy."""

        def __init__(self, arrays: np.ndarray) -> None:
            self.arrays = arrays
            self.overtaken = False

        def __getitem__(self, slot: int) -> "Overtaken":
            self.slot = slot
            return self

        def __setitem__(self, slot: int, array: object) -> None:
            self.arrays[slot] = array

        def copy(self) -> np.ndarray:
            first_half = self.arrays[self.slot].copy()
            if not self.overtaken:
                self.overtaken = True
                for value in range(2, 8):
                    ring.write([value] * 3, stamp_ns=value)
            second_half = self.arrays[self.slot].copy()
            return np.concatenate([first_half[:1], second_half[1:]])

    monkeypatch.setattr(ring, "_arrays", Overtaken(ring._arrays))
    newest = ring.read()
    assert newest is not None
    assert (newest[0], newest[1], newest[2].tolist()) == (7, 7, [7, 7, 7])


def test_clock_stands_still_until_started_while_pictures_come() -> None:
    with RealTimeGame(CountingGame, seed=5) as game:
        first = game.source.read()
        wait_for(lambda: game.source.read().index >= first.index + 5)
        assert game.state.time_s == 0
        assert game.state.telemetry["seed"] == 5
        assert not game.source.read().pixels.any()
        assert game.source.read().pixels.shape == (6, 8, 4)
        assert game.source.state == game.state


def test_clock_keeps_real_time_although_nobody_drives() -> None:
    with RealTimeGame(CountingGame, seed=0) as game:
        game.wait_until_ready()
        started_ns = clock_ns()
        game.start()
        wait_for(lambda: game.state.time_s >= 1.0)
        elapsed_s = (clock_ns() - started_ns) / 1e9
    assert 1.0 <= elapsed_s < 1.8


def test_slow_drawing_delays_pictures_and_not_physics() -> None:
    with RealTimeGame(SlowDrawingGame, seed=0) as game:
        index = game.source.read().index
        started_ns = clock_ns()
        game.start()
        wait_for(lambda: game.state.time_s >= 1.4)
        elapsed_s = (clock_ns() - started_ns) / 1e9
        pictures = game.source.read().index - index
        assert elapsed_s < 3.0, "waiting for every picture would take 4.9 s"
        assert 5 <= pictures <= 30, "70 pictures would have been due, each takes longer than three periods"
        assert game.ticks_late > 0


def test_no_more_pictures_than_asked_for() -> None:
    with RealTimeGame(CountingGame, seed=0, frames_per_s=10) as game:
        index = game.source.read().index
        game.start()
        wait_for(lambda: game.state.time_s >= 1.0)
        assert 5 <= game.source.read().index - index <= 13


def test_newest_controls_are_felt_and_leaving_the_controller_releases_them() -> None:
    with RealTimeGame(CountingGame, seed=0) as game:
        game.start()
        with game.controller as controller:
            controller.expiry_s = 60.0
            controller.send(Controls(0.5, 0.0, 0.25))
            controller.send(Controls(-0.75, 0.0, 1.0))
            wait_for(lambda: game.state.telemetry["steering"] == -0.75 and game.state.telemetry["brake"] == 1.0)
        wait_for(lambda: game.state.telemetry["steering"] == 0.0 and game.state.telemetry["brake"] == 0.0)


def test_every_axis_is_felt() -> None:
    every = Controls(*(0.5 + 0.125 * index for index in range(len(AXIS_NAMES))))
    with RealTimeGame(CountingGame, seed=0) as game:
        game.start()
        game.controller.expiry_s = 60.0
        game.controller.send(every)
        wait_for(lambda: tuple(game.state.telemetry[name] for name in AXIS_NAMES) == every.values)


def test_controls_that_are_not_renewed_are_let_go_of() -> None:
    with RealTimeGame(CountingGame, seed=0) as game:
        game.start()
        for times in (1, 2):
            game.controller.send(Controls(0.5, 0.0, 0.25))
            wait_for(lambda: game.state.telemetry["steering"] == 0.5)
            wait_for(lambda: game.state.telemetry["steering"] == 0.0)
            assert game.controls_expired == times
        game.controller.expiry_s = 60.0
        game.controller.send(Controls(0.5, 0.0, 0.25))
        time.sleep(2 * EXPIRY_S)
        assert game.state.telemetry["steering"] == 0.5


def test_picture_stamps_tell_when_the_shown_state_was() -> None:
    with RealTimeGame(SlowDrawingGame, seed=0) as game:
        game.start()
        wait_for(lambda: game.source.read().pixels.any())
        frame = game.source.read()
        assert clock_ns() - frame.captured_ns >= 0.07e9, "drawing alone takes 70 ms"


def test_time_stops_when_the_drive_is_over_and_starts_anew_on_the_next_track() -> None:
    with RealTimeGame(ShortGame, seed=1) as game:
        game.start()
        wait_for(lambda: game.state.outcome == "lap")
        time.sleep(0.1)
        assert game.state.time_s == pytest.approx(5 * 0.02)
        game.controller.send(Controls(0.5))
        game.restart(2)
        assert (game.state.time_s, game.state.outcome, game.state.telemetry["seed"]) == (0.0, "driving", 2.0)
        assert not game.source.read().pixels.any()
        game.start()
        wait_for(lambda: game.state.outcome == "lap")
        assert game.state.telemetry["steering"] == 0.0, "what the last drive held must not move the new car"


@pytest.mark.parametrize("make_game", [CarriedGame, FrozenCarriedGame])
def test_the_whole_state_crosses_to_the_agent(make_game: type[CarriedGame]) -> None:
    with RealTimeGame(make_game, seed=4) as game:
        here = make_game()
        for seed in (4, 5):  # the track's name changes with the episode
            game.restart(seed)
            here.reset(seed)
            assert game.state == here.state
            game.start()
            wait_for(lambda: game.state.outcome == "lap")
            here.advance(NEUTRAL, make_game.last_tick or 0)
            assert game.state == here.state
            assert game.state.track == {4: "lighthouse", 5: "hacienda"}[seed]
            assert game.state.in_control == (make_game is CarriedGame)


def test_laps_in_real_time_report_the_track_s_name_and_the_game_s_figures() -> None:
    spec = ModelSpec("constant", "none", "counting", width_px=8, height_px=6)
    policy = NetworkPolicy(ConstantEngine(spec, NEUTRAL))
    with RealTimeGame(CarriedGame, seed=4) as game:
        results = [
            track_result(lap.seed, lap.state, lap.summary, lap.mean_speed)
            for lap in drive_laps(game, policy, 25.0, [4, 5])
        ]
    assert [result.track for result in results] == ["lighthouse", "hacienda"]
    assert [result.figures for result in results] == 2 * [{"rescues": 1.0, "off_track_share": 0.5}]


class SlowToOpen:
    """A recorder that takes its time."""

    def __enter__(self) -> Self:
        time.sleep(0.5)
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def on_tick(self, record: TickRecord) -> None:
        pass


def test_no_car_stands_on_its_track_while_recorders_are_opened() -> None:
    spec = ModelSpec("constant", "none", "counting", width_px=8, height_px=6)
    policy = NetworkPolicy(ConstantEngine(spec, Controls(0.5)))
    with RealTimeGame(CountingGame, seed=4) as game:
        game.wait_until_ready()
        (lap,) = drive_laps(game, policy, 25.0, [4], observers_for=lambda seed, stats: [SlowToOpen()], seconds=0.4)
        assert lap.summary.predictions >= 5, "the time that was asked for is time to drive"
        assert lap.state.time_s == pytest.approx(lap.summary.predictions / 25.0, abs=0.2)
        (lap,) = drive_laps(game, policy, 25.0, [5], observers_for=lambda seed, stats: [SlowToOpen()], seconds=0.4)
        assert lap.state.telemetry["seed"] == 5.0
        assert lap.state.time_s == pytest.approx(lap.summary.predictions / 25.0, abs=0.2)


def test_crash_in_the_game_is_told_in_its_own_words() -> None:
    with RealTimeGame(CrashingGame, seed=0) as game:
        game.start()
        with pytest.raises(GameError, match="the game died: RuntimeError: the wheels came off") as raised:
            wait_for(lambda: game.source.read() is None)
        assert "advance" in str(raised.value.__cause__), "the game's own traceback is kept for --verbose"


def test_game_that_cannot_be_built_is_told_in_its_own_words() -> None:
    with RealTimeGame(StillbornGame, seed=0) as game, pytest.raises(GameError, match="no such circuit"):
        game.wait_until_ready()


def test_game_that_vanishes_while_starting_is_noticed_at_once() -> None:
    started_s = time.monotonic()
    with RealTimeGame(VanishingGame, seed=0) as game, pytest.raises(GameError, match="exit code 7"):
        game.wait_until_ready()
    assert time.monotonic() - started_s < 20, "long before the time allowed for getting ready"


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_game_is_noticed_by_reading_sending_and_asking() -> None:
    with RealTimeGame(CountingGame, seed=0) as game:
        game.start()
        assert game._process is not None
        assert game._process.pid is not None
        os.kill(game._process.pid, signal.SIGKILL)
        game._process.join(10)
        for use in (game.source.read, lambda: game.controller.send(NEUTRAL), lambda: game.state):
            with pytest.raises(GameError, match="exit code -9"):
                use()
        with game.controller:  # leaving must not hide why the drive ended
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
def test_frozen_game_is_noticed_and_can_still_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.games.realtime.game.STALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr("agent.games.realtime.game.CLOSE_TIMEOUT_S", 0.2)
    with RealTimeGame(CountingGame, seed=0) as game:
        game.wait_until_ready()
        assert game._process is not None
        assert game._process.pid is not None
        os.kill(game._process.pid, signal.SIGSTOP)
        time.sleep(0.35)
        with pytest.raises(GameError, match="has drawn nothing"):
            game.source.read()
        pid = game._process.pid
    assert not is_running(pid)


def test_using_a_closed_game_is_refused() -> None:
    game = RealTimeGame(CountingGame, seed=0)
    with pytest.raises(GameError, match="not running"):
        game.source.read()


@pytest.mark.parametrize("frames_per_s", [0, -1, float("nan"), float("inf")])
def test_impossible_drawing_rates_are_refused(frames_per_s: float) -> None:
    with pytest.raises(ValueError, match="frames_per_s"):
        RealTimeGame(CountingGame, seed=0, frames_per_s=frames_per_s)


PROGRAM = """
import os, sys, time
from agent.games.realtime.game import RealTimeGame
from test_realtime import CountingGame
if __name__ == "__main__":
    with RealTimeGame(CountingGame, seed=0) as game:
        game.start()
        game.source.read()
        print(game._process.pid, game._rings.name, flush=True)
        {end}
"""


def start_program(end: str, **options: Any) -> "tuple[subprocess.Popen[str], int, Path]":
    """Run an agent that ends as told; return it, the game's process id and the shared memory's file."""
    paths = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(end=end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        **options,
    )
    assert program.stdout is not None
    line = program.stdout.readline()
    assert re.match(r"\d+ ", line), program.communicate()[1]
    pid, name = line.split()
    return program, int(pid), Path("/dev/shm") / name.lstrip("/")


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # where nobody reaps orphans, a dead one stays as a zombie


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and /dev/shm")
@pytest.mark.parametrize(
    ("end", "code"),
    [("pass", 0), ("raise SystemExit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("os._exit(4)", 4)],
)
def test_nothing_is_left_however_the_agent_ends(end: str, code: int) -> None:
    program, pid, memory = start_program(end)
    _, errors = program.communicate(timeout=20)
    assert program.returncode == code
    wait_for(lambda: not is_running(pid))
    wait_for(lambda: not memory.exists())
    assert errors == "", "the resource tracker complains of what was leaked"


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev/shm")
def test_memory_that_nobody_was_left_to_free_is_freed_at_the_next_start() -> None:
    program, pid, left = start_program("time.sleep(60)", start_new_session=True)
    os.killpg(program.pid, signal.SIGKILL)  # the game and Python's resource tracker, too
    program.communicate(timeout=20)
    wait_for(lambda: not is_running(pid))
    assert left.exists(), "nobody is left to free it"
    running, _, in_use = start_program("time.sleep(60)")
    try:
        with RealTimeGame(CountingGame, seed=0) as game:
            game.wait_until_ready()
            assert left.exists(), "so young a block may be about to be used"
        for block in (left, in_use):
            os.utime(block, (0, 0))
        with RealTimeGame(CountingGame, seed=0) as game:
            game.wait_until_ready()
            assert not left.exists()
            assert in_use.exists(), "another drive's"
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
        left.unlink(missing_ok=True)
    assert not in_use.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
@pytest.mark.parametrize("number", [2, 1], ids=["SIGINT", "SIGHUP"])
def test_ctrl_c_and_a_closed_terminal_reach_the_agent_and_not_the_game(number: int) -> None:
    program, pid, _ = start_program(
        f"os.kill(game._process.pid, {number}); time.sleep(0.2); game.source.read(); os._exit(0)"
    )
    _, errors = program.communicate(timeout=20)
    assert (program.returncode, errors) == (0, "")
    wait_for(lambda: not is_running(pid))


def test_carracing_in_real_time_is_the_same_game_as_in_lockstep() -> None:
    carracing = find_game("carracing")
    controls = Controls(0.1, 0.5, 0.0)
    with RealTimeGame(carracing.simulator_maker(), seed=3) as game:
        game.controller.expiry_s = 60.0
        game.controller.send(controls)
        game.start()
        wait_for(lambda: game.state.time_s >= 0.5)
        live = game.state
    simulator = carracing.simulator_maker()()
    try:
        simulator.reset(3)
        simulator.advance(controls, round(live.time_s / simulator.tick_s))
        assert simulator.state == live
    finally:
        simulator.close()


def test_unknown_game_is_refused_with_those_there_are() -> None:
    with pytest.raises(GameError, match="'carracin' is unknown, expected one of: carracing"):
        find_game("carracin")
