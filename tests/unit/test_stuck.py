"""A car that gets nowhere: when that is noticed, what is done about it, and when nothing more is."""

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.observation import Observation
from agent.contract.profile import Stuck, StuckAction
from agent.driving.stuck import FREE_S, StuckWatch

WANTED = Controls(0.5, 1.0, 0.0)
RATE_HZ = 10
RNG = np.random.default_rng(0)
REST = RNG.integers(0, 256, (270, 480, 3), np.uint8)


class Drive:
    """A drive on a virtual clock; what was sent is kept."""

    def __init__(self, **stuck: object) -> None:
        self.taps: list[tuple[str, float]] = []
        self.resets = 0
        self.watch = StuckWatch(Stuck(**stuck), lambda *tap: self.taps.append(tap), self.reset)  # type: ignore[arg-type]
        self.tick = 0
        self.picture = REST
        self.wanted = WANTED

    def reset(self) -> None:
        self.resets += 1

    def go(self, seconds: float, moving: bool = False, noise: int = 0) -> list[Controls]:
        return [self.step(moving, noise) for _ in range(round(seconds * RATE_HZ))]

    def step(self, moving: bool, noise: int) -> Controls:
        if moving:
            self.picture = np.roll(self.picture, 16, axis=1)
        self.tick += 1
        return self.watch.watch(self._seen(noise), self.wanted, self.tick / RATE_HZ)

    def _seen(self, noise: int) -> Observation:
        seen = self.picture.copy()
        if noise:
            seen[:20, :60] = RNG.integers(0, noise, (20, 60, 3), np.uint8)  # an animated corner of the picture
        return seen


def test_a_car_that_moves_is_left_alone() -> None:
    drive = Drive()
    assert set(drive.go(60, moving=True)) == {WANTED}
    assert drive.watch.events == 0


@pytest.mark.parametrize("noise", [0, 40])
def test_a_car_at_rest_is_noticed_whatever_flickers(noise: int, caplog: pytest.LogCaptureFixture) -> None:
    drive = Drive(after_s=4.0, for_s=1.5)
    sent = drive.go(5.6, noise=noise)
    assert sent[:40] == [WANTED] * 40
    assert sent[41:55] == [NEUTRAL] * 14
    assert (drive.watch.events, drive.watch.attempts) == (1, 1)
    assert caplog.messages == [
        "stuck: the picture has hardly changed for 4 s; waiting for 1.5 s (attempt 1 of 3)",
    ]


def test_a_circle_is_no_standstill() -> None:
    # The source's own rule, distance from where the car was, calls a car stuck that comes by there again.
    drive = Drive(after_s=3.0)
    for _ in range(10):
        assert set(drive.go(3.0, moving=True)) == {WANTED}


def test_reversing_turns_the_wheel_the_other_way_the_second_time() -> None:
    drive = Drive(action="reverse", after_s=2.0, for_s=1.0)
    recoveries = [controls for controls in drive.go(6.0) if controls != WANTED]
    assert set(recoveries[:10]) == {Controls(0.0, 0.0, 1.0)}
    assert set(recoveries[10:]) == {Controls(-1.0, 0.0, 1.0)}


def test_a_car_that_stands_because_the_network_brakes_is_driven_on() -> None:
    # CarRacing's weights brake where the car stands askew (throttle 0.03, brake 0.08): it stood to the end of the lap.
    drive = Drive(action="forward", after_s=1.0, for_s=0.5)
    drive.wanted = Controls(-0.5, 0.0, 0.08)
    sent = drive.go(1.6)
    assert sent[:10] == [drive.wanted] * 10
    assert sent[10:] == [Controls(-0.5, 1.0)] * 5 + [drive.wanted]
    assert drive.go(3.0, moving=True)[-1] == drive.wanted


@pytest.mark.parametrize(
    ("action", "taps", "resets"), [("press", [("backspace", 0.3)], 0), ("reset", [], 1), ("wait", [], 0)]
)
def test_what_the_profile_says_is_done_once_an_attempt(
    action: StuckAction, taps: list[tuple[str, float]], resets: int
) -> None:
    drive = Drive(action=action, press="backspace", after_s=2.0, for_s=0.3)
    drive.go(2.5)
    assert (drive.taps, drive.resets) == (taps, resets)


def test_it_gives_up_after_some_attempts_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    drive = Drive(action="reset", after_s=1.0, for_s=0.5, attempts=3)
    sent = drive.go(60)
    assert drive.resets == 3
    assert (drive.watch.events, drive.watch.attempts, drive.watch.given_up) == (1, 3, 1)
    assert set(sent[60:]) == {NEUTRAL}, "and not once more for as long as it takes to see that it still stands"
    assert len(caplog.messages) == 4
    assert caplog.messages[-1].endswith("3 attempts failed; controls are neutral until it moves")
    drive.go(1.5, moving=True)  # somebody pushed it
    assert drive.go(1.0, moving=True)[-1] == WANTED
    assert caplog.messages[-1] == "moves again"
    drive.go(2.0)
    assert drive.watch.events == 2


def test_attempts_are_counted_afresh_once_it_has_moved_for_long() -> None:
    drive = Drive(action="reset", after_s=1.0, for_s=0.5, attempts=2)
    for _ in range(5):
        drive.go(1.3)
        drive.go(FREE_S + 3.0, moving=True)
    assert (drive.watch.events, drive.resets, drive.watch.given_up) == (5, 5, 0)


def test_a_car_that_drives_into_the_same_wall_again_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """Reversing moves it, and so does driving back: once, each attempt was the first, without an end."""
    drive = Drive(action="reverse", after_s=4.0, for_s=1.5, attempts=3)
    away = 0.0  # from the wall
    sent = [WANTED]
    for _ in range(120 * RATE_HZ):
        speed = -6.0 if sent[-1].throttle else 4.0 * sent[-1].brake
        before, away = away, max(0.0, away + speed / RATE_HZ)
        sent.append(drive.step(moving=away != before, noise=0))
    assert (drive.watch.events, drive.watch.attempts, drive.watch.given_up) == (1, 3, 1)
    assert set(sent[-300:]) == {NEUTRAL}
    assert caplog.messages[-1].endswith("3 attempts failed; controls are neutral until it moves")


def test_what_was_not_seen_is_no_standstill() -> None:
    drive = Drive(after_s=2.0)
    drive.go(1.9)
    drive.watch.look_away()
    drive.tick += 100
    assert set(drive.go(1.9)) == {WANTED}
    assert drive.watch.events == 0


def test_a_person_starts_it_afresh() -> None:
    drive = Drive(action="reset", after_s=1.0, for_s=0.5, attempts=1)
    drive.go(10)
    assert drive.watch.given_up == 1
    drive.watch.hand_over()
    assert set(drive.go(0.9)) == {WANTED}


def test_a_car_that_waits_for_its_start_is_not_stuck_yet() -> None:
    waiting = Drive(after_s=4.0, start_s=15.0)
    assert set(waiting.go(14.9)) == {WANTED}
    assert waiting.watch.events == 0
    waiting.go(1.0)
    assert waiting.watch.events == 1, "nor for ever"
    started = Drive(after_s=4.0, start_s=15.0)
    started.go(5.0, moving=True)
    started.go(5.0)
    assert started.watch.events == 1, "once it has moved, as soon as ever"
