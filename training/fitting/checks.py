"""Checks of what ``fit`` can be told: each takes a value, or the text of one, and returns the value."""

from typing import Any

from agent.contract.errors import GameError
from agent.contract.profile import Rectangle
from agent.contract.spec import MAX_STACK, MAX_STACK_TICKS
from agent.settings.checks import number, whole


def number_of_tracks(value: Any) -> int:
    return whole(value, 0, 10_000)


def pictures_at_once(value: Any) -> int:
    return whole(value, 1, MAX_STACK)


def ticks_apart(value: Any) -> int:
    return whole(value, 1, MAX_STACK_TICKS)


def rate_of_learning(value: Any) -> float:
    found = number(value, 0, 1)
    if found in (0, 1):
        raise ValueError(f"{value} is out of range, expected a number between 0 and 1")
    return found


def momentum(value: Any) -> float:
    found = number(value, 0, 1)
    if found == 1:
        raise ValueError("1 would never move the average, expected a momentum below 1")
    return found


def fraction(value: Any) -> float:
    return number(value, 0, 1)


def weighted_output(value: Any) -> tuple[str, float]:
    output, weight = value.partition("=")[::2] if isinstance(value, str) else value
    try:
        return output, number(weight, 0.0)
    except ValueError as exc:
        raise ValueError(f"{value} is not OUTPUT=NUMBER, such as throttle=0.1 ({exc})") from None


def masked_part(value: Any) -> tuple[float, float, float, float] | None:
    if value == "none":
        return None
    try:
        left, top, width, height = (float(part) for part in (value.split(",") if isinstance(value, str) else value))
        Rectangle(left, top, width, height)
    except (TypeError, ValueError):
        raise ValueError(f"{value} is not LEFT,TOP,WIDTH,HEIGHT in fractions of the frame") from None
    except GameError as exc:
        raise ValueError(str(exc)) from None
    return left, top, width, height
