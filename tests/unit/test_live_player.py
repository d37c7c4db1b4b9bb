"""Who drives a live training: the newest weights, taken at a moment that costs nothing; and what is recorded of it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.columns import EpisodeHeader
from agent.contract.episodes.reading import Episode
from agent.contract.observation import Frame
from agent.contract.spec import ModelSpec
from agent.observers.base import BlindTick, DrivenTick, StuckState
from agent.page.records import Weights
from agent.policies.base import untimed
from agent.policies.hot_swap import HotSwapPolicy
from agent.policies.network import NetworkPolicy
from agent.sessions.pages import weights_of
from training.live import player as module
from training.live.handover import NOTE, Handover, hand_over
from training.live.interventions import Interventions
from training.live.player import LATEST_S, Nobody, Player
from training.live.recorder import LiveRecorder

SPEC = ModelSpec("pond", "none", "pond", width_px=6, height_px=4)
PROBE = np.full((4, 6, 3), 9, np.uint8)
TIMEOUT_S = 30.0


class Steering:
    """Steers as its folder says."""

    name = "fake"
    spec = SPEC

    def __init__(self, steering: float) -> None:
        self._steering = steering

    def infer(self, observation: np.ndarray) -> np.ndarray:
        return np.array([self._steering, 0, 0], np.float32)

    def close(self) -> None:
        pass


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def tick(number: int = 0, intervention: bool = False, stuck: StuckState | None = None) -> DrivenTick:
    frame = Frame(np.full((4, 6, 3), number % 251, np.uint8), number * 50_000_000, number)
    answer = np.zeros(3, np.float32)
    controls = Controls(0.5, 0, 0) if intervention else NEUTRAL
    return DrivenTick(number, frame, PROBE, answer, controls, 0.01, {}, number * 50_000_000, intervention, stuck)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def policy() -> Iterator[HotSwapPolicy]:
    policy = HotSwapPolicy(Nobody(SPEC))
    yield policy
    policy.close()


@pytest.fixture
def player(policy: HotSwapPolicy, clock: Clock, tmp_path: Path) -> Player:
    def open_policy(weights: Path) -> NetworkPolicy:
        return NetworkPolicy(Steering(float((weights / "steering").read_text())))

    return Player(policy, tmp_path, open_policy, clock)


def give(folder: Path, number: int, steering: float, probe: float | None = None) -> Path:
    def write(target: Path) -> None:
        (target / "steering").write_text(str(steering))
        (target / "weights.safetensors").write_bytes(b"small")

    answer = (steering if probe is None else probe, 0.0, 0.0)
    return hand_over(folder, Handover(number, number, number, 0.1, 0.0, answer), PROBE, write)


def look(player: Player, policy: HotSwapPolicy, clock: Clock, record: DrivenTick | None = None) -> float:
    """Let the player look, wait for what it loads, and return how the policy steers then."""
    clock.now_s += 1.1
    player.on_tick(record or tick())
    assert policy.wait(TIMEOUT_S)
    player.on_tick(record or tick())
    steering = float(policy.decide(tick().frame, untimed).prediction[0])
    player.on_tick(record or tick())
    return round(steering, 3)


def test_before_there_are_weights_everything_is_let_go_of(player: Player, policy: HotSwapPolicy, clock: Clock) -> None:
    assert look(player, policy, clock) == 0
    assert (player.round, policy.driver, policy.folder) == (0, "human", None)


def test_weights_wait_for_a_moment_and_take_over_after_a_while_all_the_same(
    player: Player, policy: HotSwapPolicy, clock: Clock, tmp_path: Path
) -> None:
    give(tmp_path, 1, 0.1)
    assert look(player, policy, clock) == 0
    assert policy.is_ready
    clock.now_s += LATEST_S
    assert look(player, policy, clock) == 0.1
    assert player.round == 1


@pytest.mark.parametrize(("intervention", "stuck"), [(True, None), (False, "recovering")])
def test_a_takeover_and_a_stuck_car_are_such_a_moment(
    player: Player, policy: HotSwapPolicy, clock: Clock, tmp_path: Path, intervention: bool, stuck: StuckState | None
) -> None:
    give(tmp_path, 7, 0.7)
    assert look(player, policy, clock, tick(0, intervention, stuck)) == 0.7
    assert (player.round, policy.driver) == (7, "policy:pond-7")
    assert policy.folder == tmp_path / "weights" / "000007"
    assert weights_of(policy) == Weights("policy:pond-7", "fake", str(policy.folder.resolve()))


def test_a_key_takes_the_newest_at_once_and_another_goes_back(
    player: Player, policy: HotSwapPolicy, clock: Clock, tmp_path: Path
) -> None:
    give(tmp_path, 1, 0.1)
    assert look(player, policy, clock, tick(0, True)) == 0.1
    give(tmp_path, 2, 0.2)
    player.take_newest()
    assert look(player, policy, clock) == 0.2
    player.back()
    assert look(player, policy, clock) == 0.1
    assert player.round == 1


def test_weights_that_answer_otherwise_than_the_trainer_says_do_not_drive(
    player: Player, policy: HotSwapPolicy, clock: Clock, tmp_path: Path
) -> None:
    give(tmp_path, 1, 0.1)
    assert look(player, policy, clock, tick(0, True)) == 0.1
    give(tmp_path, 2, 0.2, probe=0.9)
    assert look(player, policy, clock, tick(0, True)) == 0.1
    assert policy.problem is not None
    assert "known picture" in policy.problem
    give(tmp_path, 3, 0.3)
    assert look(player, policy, clock, tick(0, True)) == 0.3


def test_weights_that_vanish_while_they_are_loaded_do_no_harm(
    player: Player, policy: HotSwapPolicy, clock: Clock, tmp_path: Path
) -> None:
    (give(tmp_path, 1, 0.1) / NOTE).unlink()
    assert look(player, policy, clock, tick(0, True)) == 0
    shutil.rmtree(tmp_path / "weights")
    assert look(player, policy, clock, tick(0, True)) == 0


def test_large_weights_are_loaded_only_while_a_person_drives(
    player: Player, policy: HotSwapPolicy, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SMALL_BYTES", 3)
    give(tmp_path, 1, 0.1)
    clock.now_s += LATEST_S
    assert look(player, policy, clock) == 0
    assert not policy.is_ready
    assert look(player, policy, clock, tick(0, True)) == 0.1


# --- the count ---


def test_interventions_are_counted_by_minute_of_the_networks_own_driving() -> None:
    counted = Interventions()
    for number in range(1200):
        counted.on_tick(tick(number, intervention=True))
    counted.is_counting = True  # the first minute was the person's, without weights
    assert counted.per_minute is None
    for number in range(1200, 1200 + 1800):  # 90 s, of which a second in every ten is the person's
        counted.on_tick(tick(number, intervention=number % 200 < 20))
    assert counted.alone_s == pytest.approx(81.0, abs=0.1)
    assert counted.count == 8, "that which the person had at first is none"
    assert counted.per_minute == pytest.approx(60 * 8 / 81, abs=0.1)
    assert sum(counted.minutes) == 8


# --- the recorder ---


@pytest.fixture
def header() -> EpisodeHeader:
    return EpisodeHeader("pond", "human", 20.0)


def test_without_weights_only_the_persons_driving_is_recorded_and_with_them_all(
    tmp_path: Path, header: EpisodeHeader
) -> None:
    drivers = ["human"]
    with LiveRecorder(tmp_path, header, lambda: drivers[0], blocking=True) as recorder:
        for number in range(40):
            recorder.on_tick(tick(number, intervention=number < 20))
        drivers[0] = "policy:pond-3"
        for number in range(40, 60):
            recorder.on_tick(tick(number, intervention=number >= 50))
        drivers[0] = "policy:pond-4"  # newer weights: the episode goes on
        for number in range(60, 80):
            recorder.on_tick(tick(number))
    demonstration, drive = map(Episode.open, recorder.files)
    assert (demonstration.header.driver, len(demonstration)) == ("human", 20)
    assert (drive.header.driver, len(drive)) == ("policy:pond", 40)
    assert drive.intervention.sum() == 10
    assert recorder.missed == 0


def test_a_long_drive_becomes_several_episodes_and_blind_ticks_none(tmp_path: Path, header: EpisodeHeader) -> None:
    with LiveRecorder(tmp_path, header, lambda: "policy:pond-1", episode_s=1.0, blocking=True) as recorder:
        for number in range(80):
            recorder.on_tick(tick(number))
            recorder.on_tick(BlindTick(number, "black", NEUTRAL, {}, 0))
    lengths = [len(Episode.open(path)) for path in recorder.files]
    assert sum(lengths) == 80
    assert len(lengths) in (3, 4)


def test_a_drive_goes_on_while_nothing_can_be_recorded(
    tmp_path: Path, header: EpisodeHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with LiveRecorder(blocked, header, lambda: "policy:pond-1", blocking=True) as recorder:
        recorder.on_tick(tick(0))
        assert recorder.problem is not None
        recorder._folder = tmp_path / "better"
        for number in range(1, 130):  # after 5 s it tries again
            recorder.on_tick(tick(number))
    assert recorder.problem is None
    assert len(Episode.open(recorder.files[0])) == 130 - recorder.missed
    assert 90 < recorder.missed < 110


def test_an_episode_keeps_what_the_header_says(tmp_path: Path, header: EpisodeHeader) -> None:
    with LiveRecorder(tmp_path, replace(header, profile_notes="notes"), lambda: "human", blocking=True) as recorder:
        recorder.on_tick(tick(0, intervention=True))
    assert Episode.open(recorder.files[0]).header.profile_notes == "notes"
