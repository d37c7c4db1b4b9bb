"""CarRacing driven by keys, as in its window, but in lockstep: what pulses of four keys cost."""

from collections.abc import Callable

import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.profile import KeyMap
from agent.controllers.key_pulses import KeyPulses
from agent.games.carracing import CarRacing
from agent.games.registry import find_game
from agent.inputs.wheels import KeySteering
from agent.sessions.play import CarKeys
from training.collecting.experts.carracing import CarRacingExpert

KEYS = find_game("carracing-window").profile.keys
SEEDS = (500000, 500001, 500002)
HOLD_TICKS, LATE_TICKS = 4, 3  # 12.5 decisions a second, each carried out 60 ms after the picture
LOOKS = 4  # the keyboard's thread acts every 5 ms, the game looks every 20 ms


class Pressed:
    """The game's controls while keys are pressed for the wanted ones."""

    def __init__(self, keys: KeyMap) -> None:
        self._keys = keys
        self._pulses = KeyPulses(keys)
        self._car = CarKeys()
        self._step = 0
        self._down: set[str] = set()

    def __call__(self, wanted: Controls) -> Controls:
        seen = set()
        for _ in range(LOOKS):
            down = self._pulses.step(wanted, self._step * 0.005)
            self._step += 1
            seen |= down - self._down  # a tap between two looks counts
            self._down = down
        keys = (self._keys.left, self._keys.right, self._keys.throttle, self._keys.brake)
        left, right, throttle, brake = (key in self._down | seen for key in keys)
        return self._car.drive(left, right, throttle, brake, 0.02).arbitrate()


def progress(carry_out: Callable[[Controls], Controls], seed: int, seconds: float = 8.0) -> float:
    """Return how much of a track the expert drives in the game's first seconds."""
    game = CarRacing(round(seconds * 50))
    game.reset(seed)
    expert = CarRacingExpert(game)
    expert.plan()
    decided: list[tuple[int, Controls]] = []
    tick, wanted = 0, NEUTRAL
    while game.state.outcome == "driving":
        if tick % HOLD_TICKS == 0:
            decided.append((tick + LATE_TICKS, expert.decide().arbitrate()))
        if decided and decided[0][0] == tick:
            wanted = decided.pop(0)[1]
        game.advance(carry_out(wanted))
        tick += 1
    share = game.state.progress
    game.close()
    return share


def test_keys_drive_nearly_as_well_as_a_pad() -> None:
    # Each of these failed it: a profile that does not say that the game turns its wheel gradually (44 % of the way by
    # pad), and a key that brakes so hard that the wheels lock (80 %). With both, it was 36 %.
    by_pad = sum(progress(lambda wanted: wanted, seed) for seed in SEEDS)
    by_keys = sum(progress(Pressed(KEYS), seed) for seed in SEEDS)
    assert by_pad > 0.1 * len(SEEDS)
    assert by_keys > 0.9 * by_pad


def test_the_profile_has_the_wheel_of_the_game() -> None:
    ramp = KEYS.steering_ramp
    assert ramp is not None
    steering = KeySteering()
    assert [steering.steer(False, True, ramp.half_s) for _ in range(2)] == pytest.approx([0.5, 1.0])
    assert ramp.full_s == 2 * ramp.half_s
    assert steering.steer(False, False, ramp.centre_s / 2) == pytest.approx(0.5, abs=0.01)


def test_a_held_brake_does_not_lock_the_wheels() -> None:
    """Failed at 1: a brake of 0.2, in pulses of a fifth of the time, took the car from 65 to 8 within 0.3 s."""
    game = CarRacing()
    game.reset(SEEDS[0])
    game.advance(Controls(throttle=1.0), 60)
    game.advance(CarKeys().drive(False, False, False, True, 0.02))
    assert min(wheel.omega for wheel in game.car.wheels) > 1
    game.close()
