"""Rectangles lie inside the frame at every resolution, or are refused."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.errors import GameError
from agent.contract.profile import GameProfile, Rectangle


@given(st.integers(1, 10_000).flatmap(lambda parts: st.tuples(st.integers(0, parts - 1), st.just(parts))))
def test_a_rectangle_up_to_the_far_edge_is_inside_whatever_the_rounding(cut: tuple[int, int]) -> None:
    start, parts = cut
    near, rest = start / parts, (parts - start) / parts
    rectangle = Rectangle(near, near, rest, rest)
    assert (rectangle.left, rectangle.top, rectangle.width, rectangle.height) == (near, near, rest, rest)


@pytest.mark.parametrize(
    "values",
    [
        (-0.1, 0, 0.5, 0.5),
        (0, -0.1, 0.5, 0.5),
        (0, 0, 0, 0.5),
        (0, 0, 0.5, 0),
        (0.5, 0.5, -0.2, 0.2),
        (0.5, 0.5, 0.2, -0.2),
        (0.6, 0, 0.5, 0.5),
        (0, 0.6, 0.5, 0.5),
        (100, 50, 640, 480),
    ],
)
def test_a_rectangle_that_leaves_the_frame_or_is_empty_is_refused(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(GameError, match=r"leaves the frame or is empty, expected .* fractions from 0 to 1") as raised:
        Rectangle(*values)
    assert str(values) in str(raised.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.1", None])
@pytest.mark.parametrize("position", range(4))
def test_a_rectangle_of_something_else_than_numbers_is_refused(position: int, value: Any) -> None:
    values: list[Any] = [0.1, 0.1, 0.1, 0.1]
    values[position] = value
    with pytest.raises(GameError, match="not a finite number"):
        Rectangle(*values)


def test_a_profile_hides_and_mirrors_nothing_unless_told() -> None:
    profile = GameProfile("karts", "Karts", 20.0)
    assert profile.masks == profile.mirrored == ()
