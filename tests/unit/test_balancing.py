"""The balancing rules: exact bins, sets, weights, and one behaviour suite for all of them."""

from bisect import bisect_left
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.errors import TrainingError
from agent.contract.spec import STEERING_THROTTLE_BRAKE, OutputSpec, outputs_named
from training.data.balancing.base import Feed, Labels
from training.data.balancing.bins import Bins, fixed_bins, joint_bins
from training.data.balancing.labels import check_ranges
from training.data.balancing.registry import RULE_NAMES, balancing_rule
from training.data.balancing.reweight import MAX_WEIGHT, density_weights
from training.data.balancing.sets import epoch_of_evened_sets, epoch_of_sets, members_of

STEERING, THROTTLE, BRAKE = STEERING_THROTTLE_BRAKE
COMBINED = OutputSpec("throttle_brake", -1.0, 1.0)
GEAR = OutputSpec("gear", 1.0, 6.0)
OUTPUTS = {
    "steering, throttle, brake": STEERING_THROTTLE_BRAKE,
    "steering and one pedal axis": (STEERING, COMBINED),
    "a fourth output": (*STEERING_THROTTLE_BRAKE, GEAR),
}

JOINT_NAMES = {
    "throttle": ("{0}", "(0, 0.2)", "[0.2, 0.8)", "[0.8, 1)", "{1}"),
    "steering": (
        *("{-1}", "(-1, -0.6)", "[-0.6, -0.2)", "[-0.2, 0)", "{0}"),
        *("(0, 0.2]", "(0.2, 0.6]", "(0.6, 1)", "{1}"),
    ),
}
RANGES = [
    *STEERING_THROTTLE_BRAKE,
    GEAR,
    OutputSpec("degrees", -450.0, 450.0),
    OutputSpec("uneven", -0.33, 1.0),
    OutputSpec("reverse", -1.0, 0.0),
    OutputSpec("off the grid", 0.05, 0.1),
]


def driving(count: int, outputs: tuple[OutputSpec, ...], seed: int = 0) -> Labels:
    """Labels as driving gives them: most of the time at one exact value, now and then anywhere in the range."""
    rng = np.random.default_rng(seed)
    low, high = np.array([(output.low, output.high) for output in outputs]).T
    labels = rng.uniform(low, high, (count, len(outputs)))
    at_rest = rng.random(labels.shape) < 0.8
    labels = np.where(at_rest, np.clip(0.0, low, high), labels)
    return labels.astype(np.float32)


def epochs(feeds: tuple[Feed, ...], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [feed.epoch(rng) for feed in feeds]


# Bins


def test_the_joint_bins_are_the_ones_of_the_source() -> None:
    assert joint_bins(THROTTLE).names == joint_bins(BRAKE).names == JOINT_NAMES["throttle"]
    assert joint_bins(STEERING).names == JOINT_NAMES["steering"]
    assert len(joint_bins(STEERING)) * len(joint_bins(THROTTLE)) * len(joint_bins(BRAKE)) == 225


def test_the_fixed_bins_are_a_tenth_wide_and_hold_0_and_the_ends_apart() -> None:
    pedal, wheel = fixed_bins(THROTTLE), fixed_bins(STEERING)
    assert len(pedal) == 12
    assert pedal.names[:3] == ("{0}", "(0, 0.1)", "[0.1, 0.2)")
    assert pedal.names[-2:] == ("[0.9, 1)", "{1}")
    assert len(wheel) == 23
    assert wheel.names[:3] == ("{-1}", "(-1, -0.9]", "(-0.9, -0.8]")
    assert wheel.names[10:13] == ("(-0.1, 0)", "{0}", "(0, 0.1)")


def contains(name: str, value: np.float32) -> bool:
    """Whether the interval or exact value a bin is named after holds a value, by Python's own comparisons."""
    numbers = [np.float32(text) for text in name[1:-1].split(",")]
    if len(numbers) == 1:
        return bool(value == numbers[0])
    left, right = numbers
    above = value >= left if name[0] == "[" else value > left
    below = value <= right if name[-1] == "]" else value < right
    return bool(above and below)


@pytest.mark.parametrize("make", [joint_bins, fixed_bins])
@pytest.mark.parametrize("output", RANGES, ids=lambda output: output.name)
def test_values_on_just_below_and_just_above_every_edge_fall_where_the_names_say(
    make: type[Bins], output: OutputSpec
) -> None:
    bins = make(output)  # type: ignore[arg-type]
    low, high = np.float32(output.low), np.float32(output.high)
    edges = {np.float32(text) for name in bins.names for text in name[1:-1].split(",")}
    assert {low, high} <= edges
    for edge in edges:
        below, above = np.nextafter(edge, np.float32(-np.inf)), np.nextafter(edge, np.float32(np.inf))
        for value in (below, edge, above):
            if low <= value <= high:
                holding = [name for name in bins.names if contains(name, value)]
                assert len(holding) == 1, f"{value!r} is in {holding}"
                assert bins.names[bins.assign(np.array([value], np.float32))[0]] == holding[0]


@given(st.sampled_from(RANGES), st.booleans(), st.data())
def test_every_value_of_the_range_falls_into_the_bin_that_is_named_after_it(
    output: OutputSpec, joint: bool, data: st.DataObject
) -> None:
    bins = joint_bins(output) if joint else fixed_bins(output)
    low, high = float(np.float32(output.low)), float(np.float32(output.high))
    value = np.float32(data.draw(st.floats(low, high, width=32)))
    assert contains(bins.names[bins.assign(np.array([value], np.float32))[0]], value)


def test_minus_zero_is_zero() -> None:
    for bins in (joint_bins(STEERING), fixed_bins(STEERING), fixed_bins(THROTTLE)):
        assert bins.names[bins.assign(np.array([-0.0], np.float32))[0]] == "{0}"


@given(st.floats(-1, 1, width=32))
def test_a_mirrored_label_falls_into_the_mirrored_bin(value: float) -> None:
    for bins in (joint_bins(STEERING), fixed_bins(STEERING)):
        there, mirrored = bins.assign(np.array([value, -value], np.float32))
        # The inner edges of v1 lie in [-0.6, -0.2) and (0.2, 0.6], as the source has them: mirrored but for theirs.
        if len(bins) == 23 or abs(np.float32(value)) not in (np.float32(0.2), np.float32(0.6)):
            assert there + mirrored == len(bins) - 1


def test_a_one_tenth_grid_in_float32_falls_as_in_exact_arithmetic() -> None:
    starts = [Fraction(k, 10) for k in range(11)]
    for k in range(1, 1000):
        exact = Fraction(k, 1000)
        index = int(fixed_bins(THROTTLE).assign(np.array([k / 1000], np.float32))[0])
        assert index == bisect_left(starts, exact) + (exact in starts), k


# Every rule


@pytest.fixture(params=RULE_NAMES)
def rule_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("outputs", OUTPUTS.values(), ids=OUTPUTS)
def test_every_rule_feeds_an_epoch_about_as_long_as_the_data(rule_name: str, outputs: tuple[OutputSpec, ...]) -> None:
    labels = driving(1500, outputs)
    feeds = balancing_rule(rule_name).feeds(labels, outputs)
    names = [feed.name for feed in feeds]
    assert names in (["all"], [output.name for output in outputs])
    for feed, epoch in zip(feeds, epochs(feeds), strict=True):
        assert feed.weights.shape == labels.shape
        assert feed.weights.dtype == np.float32
        assert epoch.dtype == np.int64
        assert len(labels) * 0.8 <= len(epoch) <= len(labels) * 1.2
        assert epoch.min() >= 0
        assert epoch.max() < len(labels)


def test_an_epoch_depends_on_the_generator_alone(rule_name: str) -> None:
    labels = driving(400, STEERING_THROTTLE_BRAKE)
    feeds = balancing_rule(rule_name).feeds(labels, STEERING_THROTTLE_BRAKE)
    first, again, other = epochs(feeds), epochs(feeds), epochs(feeds, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.01, 1.01])
def test_every_rule_refuses_a_label_out_of_range(rule_name: str, bad: float) -> None:
    labels = driving(50, STEERING_THROTTLE_BRAKE)
    labels[17, 1] = bad
    with pytest.raises(TrainingError, match=rf"throttle is {np.float32(bad)} in row 17 \(1 such rows\).*\[0, 1\]"):
        balancing_rule(rule_name).feeds(labels, STEERING_THROTTLE_BRAKE)


@pytest.mark.parametrize("rule_name", [name for name in RULE_NAMES if name != "none"])
def test_a_rule_that_balances_refuses_an_output_that_never_varies(rule_name: str) -> None:
    labels = driving(50, STEERING_THROTTLE_BRAKE)
    labels[:, 2] = 0.25
    with pytest.raises(TrainingError, match=r"brake is 0.25 in all 50 samples.*add episodes in which brake is used"):
        balancing_rule(rule_name).feeds(labels, STEERING_THROTTLE_BRAKE)
    # What it says to do can be done.
    with pytest.raises(TrainingError, match=r"`--outputs steering,throttle`, or .* `--balance none`"):
        balancing_rule(rule_name).feeds(labels, STEERING_THROTTLE_BRAKE)
    balancing_rule(rule_name).feeds(labels[:, :2], outputs_named(["steering", "throttle"]))


def test_samples_as_they_come_may_have_an_output_that_never_varies() -> None:
    labels = driving(50, STEERING_THROTTLE_BRAKE)
    labels[:, 2] = 0.0
    (feed,) = balancing_rule("none").feeds(labels, STEERING_THROTTLE_BRAKE)
    assert sorted(feed.epoch(np.random.default_rng(0))) == list(range(50))
    assert (feed.weights == 1).all()


def test_every_rule_refuses_no_samples(rule_name: str) -> None:
    with pytest.raises(TrainingError, match="no samples to balance"):
        balancing_rule(rule_name).feeds(np.empty((0, 3), np.float32), STEERING_THROTTLE_BRAKE)


def test_every_rule_feeds_two_samples(rule_name: str) -> None:
    labels = np.array([[-1, 0, 1], [0.5, 1, 0]], np.float32)
    for epoch in epochs(balancing_rule(rule_name).feeds(labels, STEERING_THROTTLE_BRAKE)):
        assert sorted(epoch) == [0, 1]


def test_limits_that_float32_rounds_outwards_are_in_range() -> None:
    output = OutputSpec("tenth", -0.1, 0.1)
    labels = np.array([[-0.1], [0.0], [0.1]], np.float32)
    assert float(labels[2, 0]) > 0.1
    check_ranges(labels, (output,))
    assert fixed_bins(output).assign(labels[:, 0]).tolist() == [0, 11, 22]
    assert density_weights(labels[:, 0], output).shape == (3,)


def test_the_message_says_where_a_label_came_from() -> None:
    with pytest.raises(TrainingError, match=r"^drive\.parquet: steering is 2\.0 in row 0"):
        check_ranges(np.array([[2, 0, 0]], np.float32), STEERING_THROTTLE_BRAKE, "drive.parquet")


def test_labels_of_other_outputs_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="expected \\(n, 2\\)"):
        balancing_rule("none").feeds(driving(10, STEERING_THROTTLE_BRAKE), (STEERING, COMBINED))


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match="no balancing rule 'v5'; choose one of none, v1, v2, v3, v4, reweight"):
        balancing_rule("v5")


# Each rule's own


def test_none_feeds_every_sample_once() -> None:
    labels = driving(300, STEERING_THROTTLE_BRAKE)
    (feed,) = balancing_rule("none").feeds(labels, STEERING_THROTTLE_BRAKE)
    assert sorted(feed.epoch(np.random.default_rng(0))) == list(range(300))
    assert (feed.weights == 1).all()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 9), st.booleans())
def test_a_set_has_one_sample_of_every_cell_and_none_comes_again_before_all_have(
    cells: list[int], seed: int, evened: bool
) -> None:
    cell_of = np.array(cells, np.int64)
    members = members_of(cell_of)
    rng = np.random.default_rng(seed)
    epoch = epoch_of_evened_sets(members, [cell_of % 2], rng, 3) if evened else epoch_of_sets(members, rng)
    filled = sorted(set(cells))
    sets = cell_of[epoch].reshape(-1, len(filled))
    assert (np.sort(sets, axis=1) == filled).all()
    assert len(sets) == max(1, round(len(cells) / len(filled)))
    for samples in members:
        drawn = [sample for sample in epoch.tolist() if sample in samples]
        for start in range(0, len(drawn), len(samples)):
            assert len(set(drawn[start : start + len(samples)])) == len(drawn[start : start + len(samples)])


@pytest.mark.parametrize("name", ["v1", "v2", "v3", "v4"])
def test_the_order_within_a_set_varies(name: str) -> None:
    labels = driving(2000, STEERING_THROTTLE_BRAKE)
    feed = balancing_rule(name).feeds(labels, STEERING_THROTTLE_BRAKE)[0]
    cells = fixed_bins(STEERING).assign(labels[:, 0])
    firsts = Counter(cells[feed.epoch(np.random.default_rng(0))][:: len(set(cells))].tolist())
    assert len(firsts) > 5


def test_v1_balances_the_joint_cells() -> None:
    labels = np.array([[0, 0, 0]] * 90 + [[0, 1, 0]] * 9 + [[0.5, 0, 0.5]], np.float32)
    (feed,) = balancing_rule("v1").feeds(labels, STEERING_THROTTLE_BRAKE)
    epoch = feed.epoch(np.random.default_rng(0))
    fed = Counter(map(tuple, labels[epoch].tolist()))
    assert fed == {(0, 0, 0): 33, (0, 1, 0): 33, (0.5, 0, 0.5): 33}
    assert (feed.weights == 1).all()


def test_v1_keeps_cells_apart_where_their_number_would_overflow() -> None:
    outputs = tuple(OutputSpec(f"output {k}", -1.0, 1.0) for k in range(30))  # 9 ** 30 cells
    labels = driving(40, outputs)
    (feed,) = balancing_rule("v1").feeds(labels, outputs)
    distinct = len({tuple(joint_bins(outputs[0]).assign(row).tolist()) for row in labels})
    assert len(set(feed.epoch(np.random.default_rng(0)).tolist())) == distinct == 40


@pytest.mark.parametrize("name", ["v2", "v3", "v4"])
def test_each_feed_is_flat_over_its_own_outputs_bins(name: str) -> None:
    labels = driving(3000, STEERING_THROTTLE_BRAKE)
    feeds = balancing_rule(name).feeds(labels, STEERING_THROTTLE_BRAKE)
    for column, (feed, epoch) in enumerate(zip(feeds, epochs(feeds), strict=True)):
        cells = fixed_bins(STEERING_THROTTLE_BRAKE[column]).assign(labels[:, column])
        fed = np.bincount(cells[epoch])
        assert set(fed[fed > 0]) == {fed.max()}
        assert np.count_nonzero(fed) == len(set(cells))
        expected = np.eye(3)[column] if name == "v2" else np.ones(3)
        assert (feed.weights == expected).all()


def effective_bins(cells: np.ndarray, epoch: np.ndarray) -> float:
    fed = np.bincount(cells[epoch]).astype(float)
    return float(fed.sum() ** 2 / (fed**2).sum())


def test_v4_evens_out_the_other_outputs_where_v3_leaves_them_to_chance() -> None:
    rng = np.random.default_rng(3)
    labels = driving(4000, STEERING_THROTTLE_BRAKE)
    labels[:, 0] = rng.random(4000) < 0.03  # two bins, one of them with far more samples than an epoch takes
    cells = fixed_bins(THROTTLE).assign(labels[:, 1])
    v3, v4 = (
        effective_bins(
            cells,
            balancing_rule(name).feeds(labels, STEERING_THROTTLE_BRAKE)[0].epoch(np.random.default_rng(0)),
        )
        for name in ("v3", "v4")
    )
    assert v4 > v3 * 1.2


# Reweighting


def test_reweight_is_the_inverse_root_of_the_smoothed_density() -> None:
    # Two peaks farther apart than the kernel reaches: nothing but their counts decides.
    values = np.array([0.1] * 900 + [0.9] * 100, np.float32)
    weights = density_weights(values, THROTTLE)
    assert weights[-1] / weights[0] == pytest.approx(3)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_reweight_treats_a_peak_at_an_end_as_one_in_the_middle() -> None:
    values = np.array([0.0] * 30 + [0.5] * 30 + [1.0] * 30, np.float32)
    assert np.ptp(density_weights(values, THROTTLE)) < 1e-6


def test_reweight_smooths_over_neighbours() -> None:
    even = ((np.arange(5000) + 0.5) / 5000).astype(np.float32)
    assert np.ptp(density_weights(even, THROTTLE)[500:-500]) < 1e-3
    values = np.array([0.5] * 500 + [0.531] * 5 + [0.9] * 5, np.float32)
    weights = density_weights(values, THROTTLE)
    assert weights[500] < weights[505] / 3  # beside a crowd nothing is rare


@settings(max_examples=50)
@given(st.lists(st.sampled_from([0.0, 0.01, 0.3, 0.31, 1.0]), min_size=2, max_size=40), st.integers(1, 4000))
def test_reweight_has_mean_1_and_a_maximum(rare: list[float], common: int) -> None:
    values = np.array(rare + [0.0] * common, np.float32)
    weights = density_weights(values, THROTTLE)
    assert weights.mean(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert weights.max() <= MAX_WEIGHT
    assert weights.min() > 0


def test_reweight_clips_a_very_rare_label() -> None:
    values = np.array([0.0] * 100_000 + [1.0], np.float32)
    weights = density_weights(values, THROTTLE)
    assert weights[-1] == MAX_WEIGHT
    assert weights[0] < 1


def test_reweight_weighs_each_output_by_its_own_labels() -> None:
    labels = driving(500, STEERING_THROTTLE_BRAKE)
    (feed,) = balancing_rule("reweight").feeds(labels, STEERING_THROTTLE_BRAKE)
    for column, output in enumerate(STEERING_THROTTLE_BRAKE):
        assert np.array_equal(feed.weights[:, column], density_weights(labels[:, column], output))
    assert sorted(feed.epoch(np.random.default_rng(0))) == list(range(500))
