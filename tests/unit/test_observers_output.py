"""What the status line, the video and the input picture produce."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.errors import AgentError
from agent.contract.observation import Frame
from agent.observers.base import BlindTick, DrivenTick, LateTick, TickObserver
from agent.observers.show_input import ShowInput
from agent.observers.status import StatusLine, format_controls
from agent.observers.video import VideoWriter, compose
from agent.system.pacing import Tick, TickStats, VirtualClock

MS = 1_000_000


def make_record(
    index: int = 0, captured_ns: int = 0, frame_index: int | None = None, steering: float = -0.5, colour: int = 200
) -> DrivenTick:
    """Return the record of a tick whose picture is red and whose observation has a red left half."""
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[..., 2:] = colour
    observation = np.zeros((4, 6, 3), np.uint8)
    observation[:, :3, 0] = colour
    return DrivenTick(
        index=index,
        frame=Frame(pixels, captured_ns, index if frame_index is None else frame_index),
        observation=observation,
        prediction=np.array((-0.12, 0.43, 0.05), np.float32),
        controls=Controls(steering, 0.43, 0.0),
        latency_s=0.031,
        sections_s={},
        started_ns=captured_ns,
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drive_status(stream: io.StringIO, ticks: int) -> None:
    """Show a drive at 25 Hz whose game delivers 50 frames a second."""
    clock = VirtualClock()
    stats = TickStats(0.04)
    with StatusLine(stats, stream, clock) as status:
        for index in range(ticks):
            status.on_tick(make_record(index, clock(), frame_index=2 * index, steering=-0.12))
            stats.add(Tick(index, clock(), clock(), clock))
            clock.sleep(0.04)


def test_a_log_gets_a_whole_line_every_five_seconds_and_one_at_the_end() -> None:
    stream = io.StringIO()
    drive_status(stream, ticks=251)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2  # at 5 s and at 10 s; the last tick has just been shown
    assert lines[0] == (
        "25.0 Hz | FPS 50 PPS 25 | steering -0.12 (-0.12) throttle 0.43 (0.43) brake 0.05 (0.00)"
        " | latency p50 31 ms, p99 31 ms | missed 0/125"
    )
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_one_line_rewritten_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    drive_status(stream, ticks=26)
    text = stream.getvalue()
    assert text.count("\r") == 5
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert all(len(line.strip("\n")) < 60 for line in text.split("\r"))


def test_a_drive_of_one_tick_still_says_something_only_if_it_had_time_to() -> None:
    stream = io.StringIO()
    drive_status(stream, ticks=1)
    assert stream.getvalue() == ""


def test_the_input_picture_is_exactly_what_the_network_saw(tmp_path: Path) -> None:
    path = tmp_path / "new" / "input.png"
    with ShowInput(path) as show:
        record = make_record()
        show.on_tick(record)
        assert np.array_equal(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), record.observation)


def test_the_input_picture_is_rewritten_once_a_second_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "input.png"
    with ShowInput(path) as show:
        for captured_ms, shown in ((0, 10), (999, 10), (1000, 12)):
            show.on_tick(make_record(captured_ns=captured_ms * MS, colour={0: 10, 999: 11, 1000: 12}[captured_ms]))
            assert cv2.imread(str(path))[0, 0].tolist() == [0, 0, shown]
    assert [entry.name for entry in tmp_path.iterdir()] == ["input.png"]


def read_frames(path: Path) -> list[np.ndarray]:
    if path.suffix != ".mp4":
        return list(cv2.imreadanimation(str(path))[1].frames)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == 25.0
    frames = []
    while (frame := video.read())[0]:
        frames.append(frame[1])
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".gif"])
def test_a_video_has_every_tick_and_appears_complete(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"drive{suffix}"
    with VideoWriter(path, rate_hz=25.0, scale=2.0) as video:
        for index in range(10):
            # Different pictures: equal ones would be merged by the animated formats.
            video.on_tick(make_record(index, steering=-1 + index / 5))
        assert not path.exists()
    frames = read_frames(path)
    assert len(frames) == 10
    assert frames[0].shape[:2] == (120, 120)
    blue, _, red = (int(value) for value in frames[0][20, 60][:3])
    assert red > 180
    assert blue < 20
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".gif"])
def test_a_window_that_changes_its_size_is_filmed_on_in_the_first_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"drive{suffix}"
    with VideoWriter(path, rate_hz=25.0, scale=2.0) as video:
        for index, shape in enumerate([(40, 60), (80, 60), (20, 90), (40, 60)]):
            frame = Frame(np.full((*shape, 4), 200, np.uint8), 0, index)
            video.on_tick(replace(make_record(index, steering=-1 + index / 2), frame=frame))
    frames = read_frames(path)
    assert [frame.shape[:2] for frame in frames] == [(120, 120)] * 4
    tall, wide = (frame[..., :3].astype(int) for frame in frames[1:3])
    assert tall[60, 5].max() < 60 < 150 < tall[10, 60].min(), "black beside a tall picture, and the whole of it there"
    assert wide[5, 60].max() < 60 < 150 < wide[50, 60].min(), "black above a wide one"


def test_an_animated_picture_ends_at_its_limit_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.observers.video.ANIMATION_FRAMES", 2)
    path = tmp_path / "drive.webp"
    with VideoWriter(path, 25.0, 2.0) as video:
        video.on_tick(make_record(steering=-1.0))
        video.on_tick(make_record(steering=1.0))
        with pytest.raises(AgentError, match=r"ends after 2 pictures.*as \.mp4"):
            video.on_tick(make_record())
    assert len(read_frames(path)) == 2


def test_bars_grow_with_the_controls() -> None:
    def coloured(controls: Controls, third: int, side: slice) -> int:
        panel = compose(np.zeros((100, 600, 3), np.uint8), controls, 1.0)[-20:, third * 200 : third * 200 + 200]
        return int((np.ptp(panel[10, side].astype(int), axis=-1) > 40).sum())

    left, right = slice(0, 100), slice(101, 200)
    assert coloured(Controls(0.0, 0.0, 0.0), 0, slice(None)) == 0
    assert coloured(Controls(-1.0), 0, left) > 80
    assert coloured(Controls(-1.0), 0, right) == 0
    assert coloured(Controls(1.0), 0, right) > 80
    assert coloured(Controls(1.0), 1, slice(None)) == 0  # stays within its own bar
    full, half = (coloured(Controls(0.0, throttle, 0.0), 1, slice(None)) for throttle in (1.0, 0.5))
    assert full == pytest.approx(2 * half, abs=2)
    assert coloured(Controls(0.0, 0.0, 1.0), 2, slice(None)) == full


def test_a_further_axis_has_a_bar_and_the_others_less_room() -> None:
    axes = ("steering", "throttle", "brake", "handbrake")

    def coloured(controls: Controls, part: int) -> int:
        panel = compose(np.zeros((100, 600, 3), np.uint8), controls, 1.0, axes)[-20:, part * 150 : part * 150 + 150]
        return int((np.ptp(panel[10].astype(int), axis=-1) > 40).sum())

    assert [coloured(Controls(handbrake=1.0), part) > 100 for part in range(4)] == [False, False, False, True]
    assert coloured(Controls(brake=1.0), 2) == coloured(Controls(handbrake=1.0), 3)


def test_the_status_line_shows_what_is_predicted() -> None:
    record = replace(
        make_record(), prediction=np.array((-0.1, -0.7), np.float32), controls=Controls(-0.1, 0.0, 0.7, handbrake=1.0)
    )
    record = replace(record, outputs=("steering", "pedal"))
    assert format_controls(record) == "steering -0.10 (-0.10) pedal -0.70 (-0.70)"
    record = replace(record, outputs=("pedal", "handbrake"))
    assert format_controls(record) == "pedal -0.10 (-0.70) handbrake -0.70 (1.00)"


@pytest.mark.parametrize("width", [160, 240, 320, 600])
def test_the_words_stay_beside_each_other_in_a_narrow_picture(width: int) -> None:
    panel = compose(np.zeros((90, width, 3), np.uint8), Controls(-0.55, 1.0, 1.0), 1.0)[-40:]
    third = width // 3
    for edge in (third, 2 * third):
        gap = panel[:, edge - third // 16 + 1 : edge + third // 16]
        assert gap.size
        assert (gap == panel[0, 0]).all()


def test_a_small_window_is_not_filmed_smaller_still(tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    with VideoWriter(path, 25.0) as video:
        video.on_tick(replace(make_record(), frame=Frame(np.zeros((180, 320, 3), np.uint8), 0, 0)))
    assert read_frames(path)[0].shape == (180 + 40, 320, 3)


def test_pictures_of_odd_size_become_even() -> None:
    assert compose(np.zeros((33, 51, 3), np.uint8), Controls(), 1.0).shape == (32 + 40, 52, 3)


@pytest.mark.parametrize(
    ("name", "rate_hz", "scale"), [("a.avi", 25.0, 1.0), ("a.mp4", 0.0, 1.0), ("a.mp4", 25.0, 0.0)]
)
def test_an_impossible_video_is_refused(tmp_path: Path, name: str, rate_hz: float, scale: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        VideoWriter(tmp_path / name, rate_hz, scale)


FACTORIES: dict[str, Callable[[Path], TickObserver]] = {
    "status": lambda folder: StatusLine(TickStats(0.04), io.StringIO()),
    "show_input": lambda folder: ShowInput(folder / "input.png"),
    "mp4": lambda folder: VideoWriter(folder / "drive.mp4", 25.0),
    "webp": lambda folder: VideoWriter(folder / "drive.webp", 25.0),
}


@pytest.fixture(params=FACTORIES)
def observer(request: pytest.FixtureRequest, tmp_path: Path) -> TickObserver:
    """Every observer of the loop; a new one joins the tests below with a line in ``FACTORIES``."""
    return FACTORIES[request.param](tmp_path)


def blind_and_late(index: int) -> tuple[BlindTick, LateTick]:
    """Return ticks on which nothing was decided in time, with a picture that would be seen if it were shown."""
    seen = make_record(index, colour=99)
    late = LateTick(index, seen.frame, seen.observation, seen.prediction, NEUTRAL, 0.3, {}, started_ns=0)
    return BlindTick(index, "the picture is black", NEUTRAL, {}, started_ns=0), late


def test_ticks_without_a_decision_in_time_leave_no_trace(observer: TickObserver, tmp_path: Path) -> None:
    with observer:
        for record in blind_and_late(0):
            observer.on_tick(record)
    assert list(tmp_path.iterdir()) == []


def test_a_film_is_of_driven_ticks_alone(tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    with VideoWriter(path, rate_hz=25.0) as video:
        for index in range(3):
            video.on_tick(make_record(index))
            for record in blind_and_late(index):
                video.on_tick(record)
    assert len(read_frames(path)) == 3


def test_an_observer_closed_before_any_tick_leaves_nothing(observer: TickObserver, tmp_path: Path) -> None:
    with observer:
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_observer_lets_exceptions_pass(observer: TickObserver) -> None:
    def fail() -> None:
        with observer:
            observer.on_tick(make_record())
            raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        fail()


def test_an_observer_changes_nothing_it_is_given(observer: TickObserver) -> None:
    record, untouched = make_record(), make_record()
    with observer:
        observer.on_tick(record)
    assert np.array_equal(record.frame.pixels, untouched.frame.pixels)
    assert np.array_equal(record.observation, untouched.observation)


@pytest.mark.parametrize("name", ["show_input", "mp4", "webp"])
def test_an_unwritable_path_is_refused_before_driving(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AgentError, match=r"cannot be written \(.*\), expected .* Pass another path"):
        FACTORIES[name](tmp_path / "file").__enter__()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: what a full disk does, to this process alone."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".gif"])
def test_a_film_cut_short_by_a_full_disk_is_a_problem_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    def film() -> None:
        noise = np.random.default_rng(0)
        with VideoWriter(tmp_path / f"drive{suffix}", 25.0, 2.0) as video:
            for index in range(8):
                record = make_record(index)
                record.frame.pixels[...] = noise.integers(0, 256, record.frame.pixels.shape, np.uint8)
                video.on_tick(record)

    with files_limited_to(5_000), pytest.raises(AgentError, match=rf"drive\{suffix} cannot be written.*[Ff]ree some"):
        film()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_an_input_picture_on_a_full_disk_is_a_problem_and_keeps_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "input.png"
    with ShowInput(path) as show:
        show.on_tick(make_record(colour=10))
        with files_limited_to(10), pytest.raises(AgentError, match=r"input\.png cannot be written"):
            show.on_tick(make_record(captured_ns=1000 * MS, colour=12))
    assert cv2.imread(str(path))[0, 0].tolist() == [0, 0, 10]
    assert [entry.name for entry in tmp_path.iterdir()] == ["input.png"]
