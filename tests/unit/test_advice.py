"""What recordings lack is told before training."""

import numpy as np
import numpy.typing as npt
import pytest

from training.data.advice import describe_skill, find_gaps
from training.data.samples import Samples

RATE_HZ = 10.0
NAMES = ("steering", "throttle", "brake")


def good_labels(seconds: float = 60.0) -> npt.NDArray[np.float32]:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    labels = np.stack([np.sin(times), 0.5 + 0.5 * np.cos(times / 3), np.maximum(0, np.sin(times / 5))], axis=1)
    return labels.astype(np.float32)


def samples_of(labels: npt.NDArray[np.float32], still: slice = slice(0, 0)) -> Samples:
    pictures = [str(number).encode() for number in range(len(labels))]
    pictures[still] = [b"the same"] * len(pictures[still])
    stacks = np.arange(len(labels))[:, np.newaxis]
    return Samples(pictures, stacks, labels, np.zeros((len(labels), 0), np.float32), NAMES, (), 1)


def gaps_of(labels: npt.NDArray[np.float32], still: slice = slice(0, 0), is_mirrored: bool = False) -> list[str]:
    return find_gaps(samples_of(labels, still), RATE_HZ, is_mirrored)


def test_a_good_recording_has_no_gaps() -> None:
    assert gaps_of(good_labels()) == []


def test_too_little_driving_is_told() -> None:
    (gap,) = gaps_of(good_labels(19.0))
    assert gap.startswith("there are only 19 s of driving, expected 20 s")


@pytest.mark.parametrize(("sign", "side"), [(1, "left"), (-1, "right")])
def test_a_missing_direction_is_told(sign: int, side: str) -> None:
    labels = good_labels()
    labels[:, 0] = sign * np.abs(labels[:, 0])
    (gap,) = gaps_of(labels)
    assert gap.startswith(f"there are hardly any {side} bends (0.0% of the time)")


def test_mirrored_pictures_teach_the_other_direction() -> None:
    labels = good_labels()
    labels[:, 0] = np.abs(labels[:, 0])
    assert gaps_of(labels, is_mirrored=True) == []


def test_a_control_that_never_changes_is_told() -> None:
    labels = good_labels()
    labels[:, 2] = 0.0
    (gap,) = gaps_of(labels)
    assert gap.startswith("brake never changes")


def test_a_paused_game_is_told_with_its_length() -> None:
    (gap,) = gaps_of(good_labels(), still=slice(100, 151))
    assert gap.startswith("the picture stands still for 5 s")


def test_a_short_stop_is_no_pause() -> None:
    assert gaps_of(good_labels(), still=slice(100, 125)) == []


def test_a_time_without_any_touch_is_told() -> None:
    labels = good_labels(90.0)
    labels[300:420] = 0.0
    (gap,) = gaps_of(labels)
    assert gap.startswith("nothing is pressed for 12 s")


def test_skill_is_told_in_words() -> None:
    row = {"steering_correlation": 0.93, "throttle_correlation": 0.6, "brake_correlation": float("nan")}
    steering, throttle, brake = describe_skill(NAMES, row)
    assert "well (correlation 0.93" in steering
    assert "fairly" in throttle
    assert "not known" in brake
    assert "badly" in describe_skill(["brake"], {"brake_correlation": -1.0})[0]
