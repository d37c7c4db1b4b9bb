"""Games as Gymnasium environments: what is sent and when, on a virtual clock and in memory."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import BlindError, CaptureError, ControlsError, GameError
from agent.contract.observation import Frame
from agent.controllers.memory import MemoryController
from agent.environments.window import BLIND_S, Task, WindowEnv
from agent.games.registry import find_game
from agent.system.pacing import Pacer, VirtualClock

PERIOD_S = 0.1
PROFILE = find_game("carracing-window").profile
LEFT = np.array([-0.5, 0.25], np.float32)


class Screen:
    """Shows a picture that says how often it was read; may be dark, or go away."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.reads, self.is_open = clock, 0, False
        self.problem: Callable[[], Exception | None] = lambda: None

    def __enter__(self) -> Self:
        self.is_open = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.is_open = False

    def read(self) -> Frame:
        if problem := self.problem():
            raise problem
        self.reads += 1
        return Frame(np.full((180, 320, 4), self.reads, np.uint8), self.clock(), self.reads)


class World:
    def __init__(self, task: Task | None = None, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.screen, self.controller = Screen(self.clock), MemoryController()
        pacer = Pacer(PERIOD_S, self.clock, self.clock.sleep)
        self.env = WindowEnv(
            PROFILE,
            task,
            open_source=lambda: self.screen,
            open_controller=lambda: self.controller,
            pacer=pacer,
            **settings,
        )

    def now_s(self) -> float:
        return self.clock() / 1e9


def test_a_step_sends_waits_for_its_deadline_and_looks() -> None:
    world = World()
    first, info = world.env.reset()
    assert first.shape == (90, 160, 3)
    assert first.dtype == np.uint8
    assert int(first.max()) == 1
    assert info["controls"] == {"steering": 0.0, "throttle": 0.0, "brake": 0.0} | _further(info)
    began_s = world.now_s()
    observation, reward, terminated, truncated, info = world.env.step(LEFT)
    assert world.controller.current.values[:3] == (-0.5, 0.25, 0.0)
    assert int(observation.max()) == 2
    assert world.now_s() - began_s == pytest.approx(PERIOD_S)
    assert (reward, terminated, truncated, info["by_hand"]) == (0.0, False, False, False)


def _further(info: dict[str, Any]) -> dict[str, float]:
    return {name: 0.0 for name in info["controls"] if name not in ("steering", "throttle", "brake")}


def test_the_pedal_is_throttle_above_0_and_brake_below() -> None:
    world = World()
    world.env.reset()
    world.env.step(np.array([0.0, -0.75], np.float32))
    assert (world.controller.current.throttle, world.controller.current.brake) == (0.0, 0.75)


def test_an_action_may_have_a_number_for_each_axis() -> None:
    world = World(outputs=("steering", "throttle", "brake"))
    world.env.reset()
    world.env.step(np.array([2.0, 0.5, 0.25], np.float32))
    sent = world.controller.current
    assert (sent.steering, sent.throttle, sent.brake) == (1.0, 0.5, 0.0)


def test_a_slow_caller_is_told_and_causes_no_burst() -> None:
    world = World()
    world.env.reset()
    world.env.step(LEFT)
    world.clock.sleep(10.45 * PERIOD_S)  # a learner updates its network
    world.env.step(LEFT)
    began_s = world.now_s()
    *_, info = world.env.step(LEFT)
    assert info["missed"] == 10
    assert world.now_s() - began_s == pytest.approx(PERIOD_S)


def test_blind_steps_are_neutral_until_a_picture_comes() -> None:
    world = World()
    world.env.reset()
    world.controller.sent.clear()
    dark_until_s = world.now_s() + 5 * PERIOD_S
    world.screen.problem = lambda: BlindError("black") if world.now_s() < dark_until_s - 1e-6 else None
    _, _, _, truncated, info = world.env.step(LEFT)
    assert list(world.controller.sent)[1:] == [NEUTRAL] * 4
    assert not truncated
    assert info["blind_s"] == pytest.approx(4 * PERIOD_S)


def test_an_episode_that_stays_blind_is_cut_short() -> None:
    world = World()
    world.env.reset()
    world.screen.problem = lambda: BlindError("black")
    began_s = world.now_s()
    *_, terminated, truncated, _ = world.env.step(LEFT)
    assert (terminated, truncated) == (False, True)
    assert world.now_s() - began_s == pytest.approx(BLIND_S + PERIOD_S)
    assert world.controller.current == NEUTRAL


def test_a_reset_without_a_picture_is_told_and_leaves_nothing_open() -> None:
    world = World()
    world.screen.problem = lambda: BlindError("minimised")
    with pytest.raises(CaptureError, match="no picture for 10 s"):
        world.env.reset()
    assert not world.screen.is_open


@pytest.mark.parametrize("action", [[np.nan, 0.0], [0.0, np.inf], [0.0], [0.0, 0.0, 0.0]])
def test_an_impossible_action_is_refused_and_leaves_the_controls_neutral(action: list[float]) -> None:
    world = World()
    world.env.reset()
    world.env.step(LEFT)
    with pytest.raises(ControlsError):
        world.env.step(np.array(action, np.float32))
    assert world.controller.current == NEUTRAL
    assert not world.screen.is_open


@pytest.mark.parametrize("error", [KeyboardInterrupt, CaptureError])
def test_a_fault_closes_everything(error: type[BaseException]) -> None:
    world = World()
    world.env.reset()

    def fail() -> Exception | None:
        raise error("now")

    world.screen.problem = fail
    with pytest.raises(error):
        world.env.step(LEFT)
    assert world.controller.current == NEUTRAL
    with pytest.raises(GameError, match="Call reset"):
        world.env.step(LEFT)
    world.screen.problem = lambda: None
    world.env.reset()  # opens again


def test_reset_and_close_are_neutral() -> None:
    world = World()
    world.env.reset()
    world.env.step(LEFT)
    world.env.reset()
    assert world.controller.current == NEUTRAL
    world.env.step(LEFT)
    world.env.close()
    assert world.controller.current == NEUTRAL
    world.env.close()


class ThreeSteps(Task):
    def __init__(self) -> None:
        self.judged: list[tuple[int, Controls]] = []

    def judge(self, frame: Frame, controls: Controls) -> tuple[float, bool]:
        self.judged.append((frame.index, controls))
        return 0.5 * len(self.judged), len(self.judged) == 3


def test_a_task_gives_rewards_and_ends_the_episode_neutral() -> None:
    task = ThreeSteps()
    world = World(task)
    world.env.reset()
    results = [world.env.step(LEFT)[1:3] for _ in range(3)]
    assert results == [(0.5, False), (1.0, False), (1.5, True)]
    assert [index for index, _ in task.judged] == [2, 3, 4]
    assert world.controller.current == NEUTRAL


def test_render_is_the_whole_picture_in_rgb() -> None:
    world = World(render_mode="rgb_array")
    world.env.reset()
    picture = world.env.render()
    assert picture is not None
    assert picture.shape == (180, 320, 3)


def test_a_game_without_a_window_is_refused() -> None:
    with pytest.raises(GameError, match="has no window"):
        WindowEnv("carracing")
