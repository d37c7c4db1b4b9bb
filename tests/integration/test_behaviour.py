"""The behaviour suites of agent.testing, over every implementation that needs no screen, no game and no gamepad.

Another package joins in the same way.
"""

import functools
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_model
from fake_game import FakeGame

from agent.capture.base import FrameSource
from agent.capture.screen import ScreenSource
from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.reading import Episode
from agent.contract.observation import Observation, Pixels
from agent.contract.profile import Capture, PadMap, Region
from agent.contract.spec import ModelSpec, Stack
from agent.controllers import gamepad
from agent.controllers.base import Controller
from agent.controllers.guard.client import GuardedController
from agent.controllers.memory import MemoryController
from agent.controllers.pad import STICK_MAX, TRIGGER_MAX
from agent.engines.base import Engine, Prediction
from agent.engines.constant import ConstantEngine
from agent.games.lockstep import Lockstep
from agent.policies.base import Policy
from agent.policies.expert import ExpertPolicy
from agent.policies.hot_swap import HotSwapPolicy
from agent.policies.network import NetworkPolicy
from agent.policies.replayed import ReplayedPolicy
from agent.policies.stacked import StackedPolicy
from agent.system.pacing import VirtualClock
from agent.testing import ControllerBehaviour, EngineBehaviour, FrameSourceBehaviour, PolicyBehaviour

EPISODE = Path(__file__).parents[1] / "data" / "carracing-0031000.parquet"
WAITING_S = 5.0


class FakeScreen:
    """A screen whose picture changes with every look at it."""

    monitors = (Region(0, 0, 64, 32),) * 2

    def __init__(self) -> None:
        self._pixels = np.random.default_rng(0).integers(20, 256, (32, 64, 4), np.uint8)

    def grab(self, region: Region) -> Pixels:
        self._pixels = np.roll(self._pixels, 1)
        return self._pixels.copy()

    def close(self) -> None:
        pass


class TestScreenSource(FrameSourceBehaviour):
    def make(self) -> FrameSource:
        return ScreenSource(Capture(), FakeScreen)


class TestLockstepSource(FrameSourceBehaviour):
    def make(self) -> FrameSource:
        return Lockstep(FakeGame(), VirtualClock(), 2)

    def come_up_with_another(self, source: FrameSource) -> None:
        assert isinstance(source, Lockstep)
        source.send(NEUTRAL)  # its time passes with a decision


class TestMemoryController(ControllerBehaviour):
    def make(self) -> MemoryController:
        return MemoryController()

    def shown(self, controller: Controller) -> Controls:
        assert isinstance(controller, MemoryController)
        return controller.current


class TestLockstepController(ControllerBehaviour):
    def make(self) -> Lockstep:
        return Lockstep(FakeGame(), VirtualClock(), 2)

    def shown(self, controller: Controller) -> Controls:
        assert isinstance(controller, Lockstep)
        return controller.held


class FileController(MemoryController):
    """Writes what it shows into a file, for the process that its guard belongs to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def send(self, controls: Controls) -> None:
        self._path.write_text(" ".join(map(str, controls.values)))

    def hold(self, name: str) -> None:
        pass

    def release(self, name: str) -> None:
        pass


class TestGuardedController(ControllerBehaviour):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "pad"
        self.path.write_text(" ".join(map(str, NEUTRAL.values)))

    def make(self) -> GuardedController:
        guarded = GuardedController(functools.partial(FileController, self.path))
        guarded.expiry_s = 60.0  # what expires is tested with the guard
        return guarded

    def shown(self, controller: Controller) -> Controls:
        assert isinstance(controller, GuardedController)
        until_s = time.monotonic() + WAITING_S
        while controller.pid is not None and controller._unanswered and time.monotonic() < until_s:
            controller.by_hand()
            time.sleep(0.001)
        return Controls(*map(float, self.path.read_text().split()))


class Device:
    """A gamepad's far end."""

    def __init__(self) -> None:
        self.steering = self.throttle = self.brake = 0.0

    def left_joystick(self, x_value: int, y_value: int) -> None:
        self.steering = x_value / STICK_MAX

    def right_joystick(self, x_value: int, y_value: int) -> None:
        pass

    def left_trigger(self, value: int) -> None:
        self.brake = value / TRIGGER_MAX

    def right_trigger(self, value: int) -> None:
        self.throttle = value / TRIGGER_MAX

    def update(self) -> None:
        pass


class TestGamepad(ControllerBehaviour):
    tolerance = 1 / TRIGGER_MAX

    @pytest.fixture(autouse=True)
    def _device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.device = Device()
        monkeypatch.setattr(gamepad, "_plug_in", lambda: self.device)

    def make(self) -> Controller:
        return gamepad.Gamepad(PadMap())

    def shown(self, controller: Controller) -> Controls:
        return Controls(self.device.steering, self.device.throttle, self.device.brake)


SPEC = ModelSpec("tiny", "none", "carracing", width_px=12, height_px=8)


class TestConstantEngine(EngineBehaviour):
    def make(self) -> Engine:
        return ConstantEngine(SPEC, Controls(0.25, 0.5, 0.0))


class TestOpenVino(EngineBehaviour):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = small_model.write_model(tmp_path)

    def make(self) -> Engine:
        from agent.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(self.folder)


class TestOnnxRuntime(TestOpenVino):
    def make(self) -> Engine:
        from agent.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(self.folder)


class MeanEngine(ConstantEngine):
    """Steers by how bright its observation is, so that another one is another prediction."""

    def infer(self, observation: Observation) -> Prediction:
        prediction = super().infer(observation)
        prediction[0] = observation.mean() / 255
        return prediction


class TestNetworkPolicy(PolicyBehaviour):
    def make(self) -> Policy:
        return NetworkPolicy(MeanEngine(SPEC, NEUTRAL))


class TestStackedPolicy(PolicyBehaviour):
    def make(self) -> Policy:
        return StackedPolicy(MeanEngine(replace(SPEC, stack=Stack(3, 2)), NEUTRAL))


class TestHotSwapPolicy(PolicyBehaviour):
    def make(self) -> Policy:
        return HotSwapPolicy(NetworkPolicy(MeanEngine(SPEC, NEUTRAL)))


class FakeExpert:
    def plan(self) -> None:
        self.decisions = 0

    def decide(self) -> Controls:
        self.decisions += 1
        return Controls(self.decisions / 10)


class TestExpertPolicy(PolicyBehaviour):
    def make(self) -> Policy:
        return ExpertPolicy(FakeExpert(), FakeGame())


class TestReplayedPolicy(PolicyBehaviour):
    def make(self) -> Policy:
        return ReplayedPolicy(Episode.open(EPISODE))


OWN = """
from agent.testing import ControllerBehaviour
from agent.controllers.memory import MemoryController

class Stuck(MemoryController):
    def __exit__(self, *exc):
        pass

class TestMine(ControllerBehaviour):
    def make(self):
        return {controller}()
    def shown(self, controller):
        return controller.current
"""


@pytest.mark.parametrize(("controller", "outcome"), [("MemoryController", "4 passed"), ("Stuck", "1 failed, 3 passed")])
def test_another_package_joins_by_a_subclass(tmp_path: Path, controller: str, outcome: str) -> None:
    (tmp_path / "test_own.py").write_text(OWN.format(controller=controller))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert outcome in run.stdout, run.stdout
    assert ("test_left_for_any_reason_it_is_neutral" in run.stdout) == (controller == "Stuck")


def test_no_test_runner_is_imported_with_the_suites() -> None:
    probe = "import sys, agent.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
