"""The grabber over DXcam, with a stand-in for the library: nobody has run it on a real Windows desktop."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agent.capture import registry
from agent.capture.dxcam import DxcamGrabber
from agent.contract.errors import CaptureError
from agent.contract.observation import Pixels
from agent.contract.profile import Region
from agent.measuring.grabbers import grab_times_s


class Camera:
    """What dxcam.create returns: the interface of DXcam 0.3."""

    width, height = 64, 48

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.screen = generator.integers(0, 256, (self.height, self.width, 4), np.uint8)
        self.has_new = True
        self.failure: Exception | None = None
        self.released = False

    def grab(self, region: tuple[int, int, int, int], new_frame_only: bool) -> Pixels | None:
        if self.failure is not None:
            raise self.failure
        assert not new_frame_only
        left, top, right, bottom = region
        return self.screen[top:bottom, left:right] if self.has_new else None

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Camera:
    camera = Camera()

    def create(output_color: str) -> Camera:
        assert output_color == "BGRA"
        return camera

    module: Any = ModuleType("dxcam")
    module.create = create
    monkeypatch.setitem(sys.modules, "dxcam", module)
    return camera


def test_a_part_of_the_screen_is_read_and_is_ones_own(camera: Camera) -> None:
    grabber = DxcamGrabber()
    assert grabber.monitors == [Region(0, 0, 64, 48)] * 2
    pixels = grabber.grab(Region(10, 20, 30, 15))
    assert np.array_equal(pixels, camera.screen[20:35, 10:40])
    pixels[:] = 0
    camera.has_new = False  # nothing has changed on the screen
    assert np.array_equal(grabber.grab(Region(10, 20, 30, 15)), camera.screen[20:35, 10:40])
    assert not grabber.grab(Region(0, 0, 8, 8)).any()
    grabber.close()
    assert camera.released


@pytest.mark.parametrize("region", [Region(-1, 0, 8, 8), Region(60, 0, 8, 8), Region(0, 41, 8, 8)])
def test_another_monitor_is_refused(camera: Camera, region: Region) -> None:
    with pytest.raises(CaptureError, match="not on the primary monitor of 64 x 48 px"):
        DxcamGrabber().grab(region)


def test_its_failures_are_one_line(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    grabber = DxcamGrabber()
    camera.failure = RuntimeError("access lost")
    with pytest.raises(CaptureError, match=r"cannot be read .*access lost"):
        grabber.grab(Region(0, 0, 8, 8))
    camera.failure = None
    camera.screen = camera.screen[..., :3]
    with pytest.raises(CaptureError, match="expected BGRA"):
        grabber.grab(Region(0, 0, 8, 8))
    monkeypatch.setattr(sys.modules["dxcam"], "create", lambda **_: 1 / 0)
    with pytest.raises(CaptureError, match=r"cannot be opened \(ZeroDivisionError"):
        DxcamGrabber()
    monkeypatch.setitem(sys.modules, "dxcam", None)
    with pytest.raises(CaptureError, match=r"pip install '\.\[windows\]'"):
        DxcamGrabber()


def test_it_is_a_choice_on_windows_alone(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_plugins", lambda group: {})
    monkeypatch.setattr(registry, "sys", SimpleNamespace(platform="linux"))
    assert registry.grabber_names() == ("mss",)
    with pytest.raises(CaptureError, match="'dxcam' is unknown"):
        registry.open_grabber("dxcam")
    monkeypatch.setattr(registry, "sys", SimpleNamespace(platform="win32"))
    assert registry.grabber_names() == ("mss", "dxcam")
    assert "dxcam" in registry.GrabberChoices()
    assert isinstance(registry.open_grabber("dxcam"), DxcamGrabber)


def test_the_fastest_comes_first_and_what_cannot_read_is_left_out(camera: Camera) -> None:
    def open_it(name: str) -> Any:
        if name == "absent":
            raise CaptureError("not installed")
        delay = {"slow": 20_000, "fast": 0, "blind": 0}[name]

        def grab(region: Region) -> None:
            if name == "blind":
                raise CaptureError("not here")
            sum(range(delay))

        return SimpleNamespace(grab=grab, close=lambda: None)

    assert list(grab_times_s(Region(0, 0, 8, 8), ("absent", "slow", "blind", "fast"), open_it)) == ["fast", "slow"]
