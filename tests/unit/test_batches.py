"""Batches, flips and metrics on pictures made here."""

from typing import Any

import cv2
import numpy as np
import pytest
from deferred import Deferred
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.controls import Controls
from agent.contract.preprocess import paint_black
from agent.contract.profile import Rectangle
from agent.contract.spec import STEERING_THROTTLE_BRAKE
from agent.contract.stacking import Stacked
from agent.games.carracing import PROFILE, CarRacing
from training.data.augment import change_colours, erase_parts, flip_picture, flip_signs
from training.data.balancing.registry import balancing_rule
from training.data.buffers import make_buffers
from training.data.samples import Samples
from training.fitting.metrics import measure

pytestmark = pytest.mark.thorough

Batches = Deferred("training.data.dataset:Batches")

WIDTH, HEIGHT = 48, 28


def make_samples(count: int, stacks: Stacked | None = None) -> Samples:
    """Return as many samples as pictures, or as stacks."""
    rng = np.random.default_rng(7)
    pictures = []
    for index in range(count):
        picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        picture[0, 0] = index  # tells the samples apart
        pictures.append(cv2.imencode(".png", picture)[1].tobytes())
    stacks = np.arange(count)[:, np.newaxis] if stacks is None else stacks
    count = len(stacks)
    labels = np.stack((np.linspace(-1, 1, count), np.linspace(0, 1, count), np.linspace(0, 0.5, count)), axis=1)
    auxiliary = np.stack((np.arange(count), np.linspace(-3, 3, count)), axis=1)
    return Samples(
        pictures,
        stacks,
        labels.astype(np.float32),
        auxiliary.astype(np.float32),
        ("steering", "throttle", "brake"),
        ("speed", "yaw_rate"),
        1,
    )


def batches(samples: Samples, rule: str = "none", batch_size: int = 4, seed: int = 0, **settings: object) -> Any:
    buffers = make_buffers(balancing_rule(rule).feeds(samples.labels, STEERING_THROTTLE_BRAKE), seed)
    return Batches(samples, buffers, batch_size, steps=5, seed=seed, **settings)  # type: ignore[arg-type]


def drawn(samples: Samples, rounds: int) -> list[int]:
    streams = [batches(samples, round_=number) for number in range(rounds)]
    return [int(picture[0, 0, 0]) for stream in streams for k in range(len(stream)) for picture in stream[k][0]]


def test_every_sample_is_drawn_once_before_any_is_drawn_again() -> None:
    order = drawn(make_samples(20), rounds=3)
    for start in range(0, 60, 20):
        assert sorted(order[start : start + 20]) == list(range(20))
    assert order[:20] != order[20:40] != order[40:60]


def test_a_round_is_the_same_whatever_keras_tells_of_epochs() -> None:
    samples = make_samples(13)
    told = batches(samples, mirrored=(Rectangle(0, 0, 1, 1),), seed=3, round_=2)
    told.on_epoch_begin()
    told.on_epoch_end()
    resumed = batches(samples, mirrored=(Rectangle(0, 0, 1, 1),), seed=3, round_=2)
    for k in range(5):
        assert np.array_equal(told[k][0], resumed[k][0])
        assert np.array_equal(told[k][1]["steering"], resumed[k][1]["steering"])
    assert not np.array_equal(resumed[0][0], batches(samples, seed=4, round_=2)[0][0])


def test_a_batch_has_equal_shares_of_all_feeds() -> None:
    samples = make_samples(40)
    stream = batches(samples, "v3", batch_size=8)
    feeds = balancing_rule("v3").feeds(samples.labels, STEERING_THROTTLE_BRAKE)
    sources = make_buffers(feeds, 0)
    for step in range(5):
        pictures, _, weights = stream[step]
        rows = [int(picture[0, 0, 0]) for picture in pictures]
        expected = [buffer.draw(step * share, share) for buffer, share in zip(sources, (3, 3, 2), strict=True)]
        assert rows == np.concatenate(expected).tolist()
        assert all(weight.tolist() == [1.0] * 8 for weight in weights.values())
    assert stream.samples_a_step == 8


@pytest.mark.parametrize("rule", ["none", "v2"])
def test_a_batch_an_output_carries_that_outputs_label_alone(rule: str) -> None:
    stream = batches(make_samples(40), rule, batch_per_output=True, auxiliary=True)
    pictures, _, weights = stream[0]
    assert len(pictures) == stream.samples_a_step == 12
    assert weights["steering"].tolist() == [1] * 4 + [0] * 8
    assert weights["throttle"].tolist() == [0] * 4 + [1] * 4 + [0] * 4
    assert weights["brake"].tolist() == [0] * 8 + [1] * 4
    assert weights["auxiliary"].tolist() == [1] * 12
    seen = [int(picture[0, 0, 0]) for step in range(3) for picture in stream[step][0]]
    if rule == "none":  # three batches of one feed, and no sample twice while there are others
        assert len(set(seen)) == 36


def test_an_output_that_few_feeds_carry_counts_as_much_in_a_joint_batch() -> None:
    stream = batches(make_samples(40), "v2", batch_size=6)
    for column, name in enumerate(("steering", "throttle", "brake")):
        assert stream[1][2][name].tolist() == pytest.approx([3.0 if k // 2 == column else 0.0 for k in range(6)])


def test_a_rare_labels_weight_reaches_its_own_head_only() -> None:
    samples = make_samples(40)
    (feed,) = balancing_rule("reweight").feeds(samples.labels, STEERING_THROTTLE_BRAKE)
    stream = batches(samples, "reweight")
    for step in range(10):
        pictures, _, weights = stream[step]
        rows = [int(picture[0, 0, 0]) for picture in pictures]
        for column, name in enumerate(("steering", "throttle", "brake")):
            assert weights[name] == pytest.approx(feed.weights[rows, column])


def test_the_fed_labels_are_those_of_the_batches_flips_included() -> None:
    samples = make_samples(40)
    stream = batches(samples, "reweight", mirrored=(Rectangle(0, 0, 1, 1),), round_=1)
    labels, weights = stream.fed(6, 2)
    for column, name in enumerate(("steering", "throttle", "brake")):
        assert np.array_equal(labels[:, column], np.concatenate([stream[k][1][name][:, 0] for k in (1, 2)]))
        assert np.array_equal(weights[:, column], np.concatenate([stream[k][2][name] for k in (1, 2)]))
    assert not np.array_equal(labels, samples.labels[np.concatenate([stream.draw(k).chosen for k in (6, 7)])])


def test_a_flip_mirrors_the_picture_and_the_signs_together() -> None:
    samples = make_samples(40)
    plain = batches(samples, auxiliary=True)
    flipping = batches(samples, auxiliary=True, mirrored=(Rectangle(0, 0, 1, 1),))
    flipped = 0
    for k in range(5):
        for before, after, steering, turned, numbers, changed in zip(
            plain[k][0],
            flipping[k][0],
            plain[k][1]["steering"],
            flipping[k][1]["steering"],
            plain[k][1]["auxiliary"],
            flipping[k][1]["auxiliary"],
            strict=True,
        ):
            if np.array_equal(before, after):
                assert turned == steering
                assert np.array_equal(changed, numbers)
            else:
                assert np.array_equal(before[:, ::-1], after)
                assert turned == -steering
                assert np.array_equal(changed, numbers * [1, -1])
                flipped += 1
    assert 3 <= flipped <= 17


@pytest.mark.parametrize(("setting", "share_changed"), [({"colours": 1.0}, 1.0), ({"erase": 3}, 0.75)])
def test_changed_pictures_keep_their_labels_and_are_the_same_when_a_run_is_resumed(
    setting: dict[str, Any], share_changed: float
) -> None:
    samples = make_samples(40)
    plain, changed, again = batches(samples), batches(samples, **setting), batches(samples, **setting)
    differing = []
    for k in range(len(plain)):
        assert np.array_equal(plain[k][1]["steering"], changed[k][1]["steering"])
        assert np.array_equal(changed[k][0], again[k][0])
        differing += [not np.array_equal(*pair) for pair in zip(plain[k][0], changed[k][0], strict=True)]
    assert np.mean(differing) == pytest.approx(share_changed, abs=0.15 if share_changed < 1 else 0)


def test_all_pictures_of_a_sample_are_changed_alike() -> None:
    """Each sample is the same picture three times, so that any difference between them comes of the change."""
    stacks = np.repeat(np.arange(40)[:, np.newaxis], 3, axis=1)
    settings: dict[str, Any] = {"mirrored": (Rectangle(0, 0, 1, 1),), "colours": 1.0, "erase": 3}
    single, stacked = batches(make_samples(40), **settings), batches(make_samples(40, stacks), **settings)
    for k in range(len(stacked)):
        observations, labels, _ = stacked[k]
        assert observations.shape == (4, HEIGHT, WIDTH, 9)
        assert np.array_equal(labels["steering"], single[k][1]["steering"])
        for place in range(3):
            assert np.array_equal(observations[..., 3 * place : 3 * place + 3], single[k][0]), "as one picture is"


def test_a_sample_is_made_of_its_pictures_the_oldest_first() -> None:
    stacks = np.array([[0, 0], [0, 1], [1, 3]])  # the third picture is nobody's newest
    samples = make_samples(4, stacks)
    assert len(samples) == 3
    assert samples.observation(2)[0, 0].tolist() == [1, 1, 1, 3, 3, 3]
    assert samples.newest(2) == samples.pictures[3]
    observations, _, _ = batches(samples, batch_size=3)[0]
    assert sorted(each[0, 0, ::3].tolist() for each in observations) == stacks.tolist()


def test_erased_parts_are_rectangles_of_one_colour_and_no_more_than_asked_for() -> None:
    shares = []
    for seed in range(300):
        picture = np.zeros((90, 160, 3), np.uint8)
        erase_parts(picture, 1, np.random.default_rng(seed))
        rows, columns = np.nonzero(picture.any(axis=2))
        shares.append(len(rows) / (90 * 160))
        if len(rows):
            part = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert (part == part[0, 0]).all()
    erased = np.array([share for share in shares if share])
    assert 0.4 < len(erased) / len(shares) < 0.6, "none or one, as often"
    assert 0.018 < erased.min() < 0.03  # sides are whole pixels
    assert 0.13 < erased.max() < 0.152
    picture = np.zeros((90, 160, 3), np.uint8)
    erase_parts(picture, 0, np.random.default_rng(0))
    assert not picture.any()
    tiny = np.zeros((1, 40, 3), np.uint8)  # flatter than any rectangle
    for seed in range(20):
        erase_parts(tiny, 3, np.random.default_rng(seed))


def test_colours_change_by_no_more_than_they_are_to() -> None:
    grey = np.full((2, 3, 3), 127, np.uint8)
    seen = []
    for seed in range(200):
        picture = grey.copy()
        change_colours(picture, 1.0, np.random.default_rng(seed))
        assert (picture == picture[0, 0]).all(), "every pixel in the same way"
        seen.append(picture[0, 0].astype(int))
    # Most contrast, so that 127.5 stays, least and most of a tint, and brightness.
    assert np.min(seen) >= 1.3 * 0.8 * 127 - 0.3 * 127.5 - 30
    assert np.max(seen) <= 1.3 * 1.2 * 127 - 0.3 * 127.5 + 30
    assert np.ptp(seen, axis=0) == pytest.approx(100, abs=26)
    change_colours(grey, 0.0, np.random.default_rng(0))
    assert (grey == 127).all()


def test_signs_by_name() -> None:
    names = ("steering", "throttle", "brake", "speed", "yaw_rate", "bearing_8", "wanted_speed", "lateral_offset")
    assert flip_signs(names).tolist() == [-1, 1, 1, 1, -1, -1, 1, -1]


def test_flipping_carracing_keeps_the_speed_bar_and_mirrors_the_rest() -> None:
    game = CarRacing()
    game.reset(3)
    game.advance(Controls(-0.3, 0.5), 60)
    picture = np.ascontiguousarray(game.render()[:, :, 2::-1])
    flipped = picture.copy()
    flip_picture(flipped, PROFILE.mirrored)
    bar = 700
    assert np.array_equal(flipped[:bar], picture[:bar, ::-1])
    assert np.array_equal(flipped[bar:, :375], picture[bar:, :375])
    for left, right, channel in ((375, 625, 1), (625, 875, 0)):  # the steering angle is green, the yaw rate red
        before, after = (pixels[bar:, left:right, channel] > 200 for pixels in (picture, flipped))
        assert before.any()
        assert not np.array_equal(before, before[:, ::-1])
        assert np.array_equal(after, before[:, ::-1])
    flip_picture(flipped, PROFILE.mirrored)
    assert np.array_equal(flipped, picture)


@given(st.integers(32, 700), st.integers(24, 400))
def test_mirroring_the_steering_bar_leaves_masked_pictures_as_they_were(width: int, height: int) -> None:
    picture = np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)
    for mask in PROFILE.masks:
        paint_black(picture, mask, margin_px=1)
    scene, _, yaw = PROFILE.mirrored
    without = picture.copy()
    flip_picture(without, (scene, yaw))
    flip_picture(picture, PROFILE.mirrored)
    assert np.array_equal(picture, without)


def test_metrics_of_known_arrays() -> None:
    labels = np.array([0, 1, 2, 3], np.float32)
    assert measure(labels + 1, labels).mae == 1
    assert measure(labels + 1, labels).rmse == 1
    assert measure(-labels, labels).correlation == pytest.approx(-1)
    assert measure(np.ones(4, np.float32), labels).correlation == 0
