"""A person recorded: which control belongs to which picture, what the keys do, and that no frame goes uncounted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.errors import BlindError, ControllerError
from agent.contract.observation import Frame
from agent.contract.profile import GameProfile, KeyMap, SteeringRamp
from agent.controllers.key_pulses import KeyPulse
from agent.inputs.keyboard import KeyboardInput
from agent.inputs.resting import RestWatch
from agent.inputs.sampling import KEYS_AVERAGED_S, ControlTrack, Sampler
from agent.inputs.wheels import GameWheel, KeySteering
from agent.sessions.person_recording import choose_input
from agent.sessions.record_person import DISCARDED_S, Demonstration, describe, state_of
from agent.system.pacing import Pacer, VirtualClock

RATE_HZ = 20.0
S = 1_000_000_000


class FakeSource:
    """A game that draws a new picture a tick, unless told otherwise."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.index = 0
        self.still = False
        self.blind = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def read(self) -> Frame:
        if self.blind:
            raise BlindError("black")
        self.index += not self.still
        return Frame(np.full((4, 6, 3), self.index % 256, np.uint8), self._clock(), self.index)


class Session:
    def __init__(self, folder: Path, started: bool = True, averaged_s: float = 0.0) -> None:
        self.clock = VirtualClock(S)
        self.source = FakeSource(self.clock)
        self.track = ControlTrack()
        header = EpisodeHeader("game", "human", RATE_HZ)
        self.demonstration = Demonstration(
            self.source, self.track, header, folder, started, self.clock, blocking=True, averaged_s=averaged_s
        )
        self.tick = 0
        self.steering: Callable[[float], float] = np.sin

    def run(self, events: dict[int, str], ticks: int) -> None:
        """Run for some ticks; before tick k call the method, or set the source's flag, that ``events`` names."""
        pacer = Pacer(1 / RATE_HZ, self.clock, self.clock.sleep)

        def until() -> bool:
            now = self.clock()
            self.track.add(now, Controls(round(self.steering(now / S), 3)))
            for word in events.get(self.tick, "").split():
                if word in ("asleep", "awake"):
                    self.track.unheard = "no gamepad is plugged in" if word == "asleep" else None
                    continue
                if hasattr(self.source, word.strip("-")):
                    setattr(self.source, word.strip("-"), not word.startswith("-"))
                else:
                    getattr(self.demonstration, word)()
            self.tick += 1
            return self.tick > ticks

        with self.demonstration as demonstration:
            demonstration.run(pacer, until)

    def episodes(self) -> list[Episode]:
        return [Episode.open(path) for path in self.demonstration.files]


def test_frames_are_paired_with_the_controls_of_their_moment(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.run({}, 50)
    (episode,) = session.episodes()
    assert len(episode) == session.demonstration.counts.frames == 50
    assert episode.controls[:, 0] == pytest.approx(np.sin(episode.captured_ns / S), abs=0.001)
    assert np.array_equal(np.diff(episode.tick), np.ones(49))
    assert (episode.header.driver, episode.intervention.any()) == ("human", False)


class FakePage:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.driven: list[tuple[int, Controls]] = []
        self.reasons: list[str] = []

    def drove(self, frame: Frame, controls: Controls) -> None:
        self.driven.append((frame.index, controls))

    def saw_nothing(self, reason: str) -> None:
        self.reasons.append(reason)


def test_a_page_is_shown_each_picture_with_what_the_person_did_and_each_tick_without_one(tmp_path: Path) -> None:
    session = Session(tmp_path)
    page: Any = FakePage()
    session.demonstration._page = page
    session.run({20: "blind", 25: "-blind"}, 50)
    (episode,) = session.episodes()
    assert page.reasons == ["black"] * 5
    assert len(page.driven) == len(episode) == 45
    assert [controls.steering for _, controls in page.driven] == pytest.approx(episode.controls[:, 0], abs=1e-6)


def test_a_moment_between_two_samples_lies_on_their_line() -> None:
    track = ControlTrack()
    assert track.at(5) == NEUTRAL
    track.add(100, Controls(-1.0, 0.0, 0.0))
    track.add(200, Controls(1.0, 1.0, 0.0))
    assert track.at(50) == Controls(-1.0)
    assert track.at(125) == Controls(-0.5, 0.25)
    assert track.at(200) == track.at(999) == Controls(1.0, 1.0)


def test_keys_are_averaged_from_a_picture_on(tmp_path: Path) -> None:
    session = Session(tmp_path, averaged_s=0.15)
    session.steering = lambda time_s: float(round(time_s * RATE_HZ) % 2)  # a key that is down every other tick
    session.run({}, 50)
    (episode,) = session.episodes()
    counts, ticks = session.demonstration.counts, 3  # within 0.15 s
    assert len(episode) == counts.frames == 50 - counts.discarded
    assert counts.discarded in (ticks - 1, ticks), "the last ones' controls were not all known"
    down = np.round(episode.captured_ns / S * RATE_HZ) % 2
    wanted = [down[k : k + ticks].mean() for k in range(len(episode) - ticks)]
    assert episode.controls[: len(wanted), 0] == pytest.approx(np.array(wanted), abs=0.001)
    assert episode.controls[:, 0].max() < 0.7


def test_pictures_that_wait_for_their_controls_are_recorded_or_counted_as_discarded(
    tmp_path: Path,
) -> None:
    session = Session(tmp_path, averaged_s=0.5)
    session.run({20: "pause_or_go_on", 25: "pause_or_go_on", 30: "discard"}, 31)
    counts = session.demonstration.counts
    assert counts.frames + counts.discarded == 26, "all 31 ticks but the pause's five"
    assert counts.frames == 0
    again = Session(tmp_path / "again", averaged_s=0.5)
    again.run({20: "pause_or_go_on"}, 22)
    counts = again.demonstration.counts
    assert [len(episode) for episode in again.episodes()] == [counts.frames]
    assert counts.frames + counts.discarded == 20
    assert 0 < counts.frames < 20


def test_a_mark_is_on_the_picture_seen_when_it_was_made_however_long_controls_take(tmp_path: Path) -> None:
    for averaged_s in (0.0, 0.15):
        session = Session(tmp_path / str(averaged_s), averaged_s=averaged_s)
        session.run({7: "mark"}, 20)
        (episode,) = session.episodes()
        assert np.flatnonzero(episode.telemetry["mark"]).tolist() == [6], "taken before the key was pressed"
        assert session.demonstration.counts.marks == 1


def test_the_mean_of_a_time_without_samples_is_what_is_known_of_its_beginning() -> None:
    track = ControlTrack()
    assert track.mean(5, 1.0) == NEUTRAL
    track.add(100, Controls(-1.0))
    track.add(200, Controls(1.0, 1.0))
    assert track.mean(150, 1e-9) == Controls(0.0, 0.5)
    assert track.mean(100, 100e-9) == Controls(-1.0), "its end is not in it"
    assert track.mean(100, 101e-9) == Controls(0.0, 0.5)


def test_start_and_stop_make_an_episode_each(tmp_path: Path) -> None:
    session = Session(tmp_path, started=False)
    session.run({10: "start_or_stop", 30: "start_or_stop", 40: "start_or_stop"}, 60)
    assert [len(episode) for episode in session.episodes()] == [20, 20]
    assert session.demonstration.counts.episodes == 2
    assert session.demonstration.counts.size_bytes == sum(path.stat().st_size for path in session.demonstration.files)


def test_a_pause_leaves_a_gap_in_one_episode(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.run({10: "pause_or_go_on", 30: "pause_or_go_on"}, 50)
    (episode,) = session.episodes()
    assert len(episode) == 30
    assert np.diff(episode.captured_ns).max() == pytest.approx(21 * S / RATE_HZ, abs=2)


def test_the_last_five_seconds_can_be_taken_back(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.run({200: "discard"}, 240)  # after 10 s
    (episode,) = session.episodes()
    kept = episode.captured_ns[episode.captured_ns < S + 200 * S // 20] - S
    asked = 10.0 - DISCARDED_S
    assert asked - 1.05 <= kept.max() / S < asked  # what went to the disk together goes together
    assert len(episode) == len(kept) + 40
    assert session.demonstration.counts.discarded == pytest.approx(100, abs=1)


def test_every_tick_is_accounted_for(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.steering = lambda time_s: 0.5
    session.run({5: "still", 15: "-still", 20: "blind", 30: "-blind"}, 40)
    counts = session.demonstration.counts
    assert (counts.frames, counts.repeated, counts.blind, counts.dropped) == (20, 10, 10, 0)
    assert counts.left + counts.straight + counts.right == counts.frames
    assert len(session.episodes()[0]) == 20


def test_driving_off_from_a_standstill_is_recorded(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.steering = lambda time_s: 0.0 if time_s < 1.5 else 0.4
    session.run({0: "still", 15: "-still"}, 20)
    (episode,) = session.episodes()
    assert [round(float(value), 1) for value in episode.controls[:3, 0]] == [0.0, 0.4, 0.4]
    assert episode.tick[:3].tolist() == [0, 0, 1]  # the same picture twice: once at rest, once driven off from
    assert len(episode) == 2 + 5


def test_nothing_driven_leaves_nothing_behind(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.run({0: "blind"}, 10)
    assert session.demonstration.files == []
    assert list(tmp_path.iterdir()) == []


def test_the_line_says_what_is_recorded(tmp_path: Path) -> None:
    session = Session(tmp_path)
    assert state_of(session.demonstration) == "stopped"
    session.run({}, 40)
    line = describe(session.demonstration.counts, "done")
    assert line.startswith("done | frames 40, dropped 0, repeated 0, blind 0 | left 0% straight 0% right 100% | ")


@pytest.mark.parametrize(
    ("steering", "counted"),
    [(0.0, "straight"), (0.049, "straight"), (-0.049, "straight"), (0.051, "right"), (-0.051, "left"), (-1.0, "left")],
)
def test_a_steering_of_less_than_a_twentieth_counts_as_straight(tmp_path: Path, steering: float, counted: str) -> None:
    session = Session(tmp_path)
    session.steering = lambda time_s: steering
    session.run({}, 10)
    counts = session.demonstration.counts
    assert {name: getattr(counts, name) for name in ("left", "straight", "right")} == {
        name: 10 if name == counted else 0 for name in ("left", "straight", "right")
    }


class Hands:
    def __init__(self, failing: bool = False) -> None:
        self.failing = failing
        self.reads = 0

    def __enter__(self) -> Self:
        if self.failing:
            raise ControllerError("no pad")
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def read(self) -> Controls:
        self.reads += 1
        if self.reads > 3:
            raise ControllerError("unplugged")
        return Controls(0.5)

    def unheard(self) -> str | None:
        return None if self.reads else "asleep"


def test_the_sampler_tells_what_went_wrong_in_its_thread() -> None:
    with pytest.raises(ControllerError, match="no pad"):
        Sampler(Hands(failing=True), ControlTrack()).__enter__()
    track = ControlTrack()
    with Sampler(Hands(), track) as sampler:
        sampler._thread.join(5)
        with pytest.raises(ControllerError, match="unplugged"):
            sampler.check()
    assert track.at(0) == Controls(0.5)


def test_keys_make_a_steady_hand() -> None:
    clock = VirtualClock()
    keys = KeyboardInput(KeyMap(), clock)
    keys.read()
    keys.press(Key("left"))
    keys.press(Key("up"))
    clock.sleep(0.1)
    first = keys.read()
    clock.sleep(10)
    assert (first.steering, first.throttle) == (pytest.approx(-0.4), 1.0)
    assert keys.read().steering == -1.0
    keys.release(Key("left"))
    clock.sleep(0.1)
    assert keys.read().steering == pytest.approx(-0.4)
    clock.sleep(1)
    assert keys.read().steering == 0.0


def test_keys_turn_the_wheel_that_they_are_given() -> None:
    clock = VirtualClock()
    keys = KeyboardInput(KeyMap(), clock, GameWheel(SteeringRamp(0.1, 0.2, 0.05)))
    keys.read()
    keys.press(Key("right"))
    clock.sleep(0.1)
    assert keys.read().steering == pytest.approx(0.5)
    keys.release(Key("right"))
    keys.press(Key("left"))
    clock.sleep(0.01)
    assert keys.read().steering == pytest.approx(0.3), "first back to the middle"
    clock.sleep(0.05)
    assert keys.read().steering == 0.0
    clock.sleep(0.1)
    assert keys.read().steering == pytest.approx(-0.5)
    keys.press(Key("right"))
    clock.sleep(0.05)
    assert keys.read().steering == 0.0, "both at once"


def recorded(profile: GameProfile, share: float) -> float:
    """What `record --input keyboard` makes of a left key that is held so much of the time, as a mean over 20 s."""
    keys, averaged_s = choose_input("keyboard", profile)
    assert isinstance(keys, KeyboardInput)
    assert averaged_s == (0.0 if profile.controller == "gamepad" else KEYS_AVERAGED_S)
    clock = VirtualClock()
    keys._clock = clock
    pulse, heard = KeyPulse(0.035), []
    for _ in range(4000):
        (keys.press if pulse.step(share, clock() / S) else keys.release)(Key("left"))
        clock.sleep(0.005)
        heard.append(keys.read().steering)
    return -sum(heard) / len(heard)


def test_keys_are_a_share_of_the_time_for_games_on_keys_and_a_steady_hand_for_games_on_a_pad() -> None:
    on_keys = GameProfile("game", "Game", 20.0, controller="keyboard")
    assert recorded(on_keys, 0.4) == pytest.approx(0.4, abs=0.01)
    ramp = SteeringRamp(0.02, 0.04, 0.3)  # quickly there and slowly back: KeySteering is the other way round
    with_ramp = replace(on_keys, keys=KeyMap(steering_ramp=ramp))
    assert recorded(with_ramp, 0.4) > 0.7, "what pulses of 35 ms turn such a wheel by"
    pad = replace(with_ramp, controller="gamepad")
    assert recorded(pad, 0.4) == pytest.approx(0.048, abs=0.002), "KeySteering's, whatever a key would do"


class Key:
    char = None

    def __init__(self, name: str) -> None:
        self.name = name


def test_opposite_keys_return_the_wheel_before_they_turn_it() -> None:
    steering = KeySteering()
    assert steering.steer(False, True, 0.2) == pytest.approx(0.8)
    assert steering.steer(True, False, 0.1) == pytest.approx(0.2)
    assert steering.steer(True, False, 0.1) == 0.0
    assert steering.steer(True, False, 0.1) == pytest.approx(-0.4)
    assert steering.steer(True, True, 0.05) == pytest.approx(-0.1)


def row(second: float) -> EpisodeRow:
    frame = Frame(np.zeros((2, 2, 3), np.uint8), round(second * S), round(second * 10))
    return EpisodeRow(frame, NEUTRAL, NEUTRAL)


@pytest.mark.parametrize(
    ("since", "kept"), [(9.0, 30), (2.95, 30), (2.9, 25), (2.0, 20), (1.95, 20), (1.85, 15), (-1.0, 0)]
)
def test_whole_half_seconds_are_taken_back_from_the_disk(tmp_path: Path, since: float, kept: int) -> None:
    with EpisodeWriter(tmp_path / "e.parquet", EpisodeHeader("game", "human", 10.0)) as writer:
        for tick in range(30):
            writer.write(row(tick / 10))
        assert writer.discard_since(round(since * S)) == 30 - kept
        writer.write(row(5.0))
    episode = Episode.open(tmp_path / "e.parquet")
    assert episode.captured_ns.tolist() == [*(tick * S // 10 for tick in range(kept)), 5 * S]


def test_what_has_not_reached_the_disk_is_taken_back_too(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "e.parquet", EpisodeHeader("game", "human", 10.0)) as writer:
        for tick in range(13):
            writer.write(row(tick / 10))
        assert writer.discard_since(round(1.1 * S)) == 3
        writer.write(row(3.0))
    assert len(Episode.open(tmp_path / "e.parquet")) == 11


@pytest.mark.parametrize("averaged_s", [0.0, 0.1], ids=["pad", "keys"])
def test_a_pad_that_goes_leaves_no_rows_behind(
    tmp_path: Path, averaged_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's controls are neutral: as labels they would teach to let go of everything."""
    session = Session(tmp_path, averaged_s=averaged_s)
    session.run({20: "asleep", 60: "awake"}, 80)
    (episode,) = session.episodes()
    seconds = (episode.captured_ns - S) / S
    assert not ((seconds > 20 / RATE_HZ) & (seconds < 59 / RATE_HZ)).any()
    assert len(episode) >= 30
    assert session.demonstration.counts.unheard == 40
    assert "unheard 40" in describe(session.demonstration.counts, "done")
    assert caplog.messages == ["nothing is recorded now: no gamepad is plugged in", "recording again"]


def test_why_nothing_is_recorded_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(tmp_path)
    session.run({5: "blind", 15: "-blind", 25: "blind"}, 30)
    blind = "nothing is recorded now: blind: black"
    assert caplog.messages == [blind, "recording again", blind]


def test_an_episode_in_which_nothing_was_pressed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(tmp_path)
    session.steering = lambda seconds: 0.0
    session.run({}, 10)
    (path,) = session.demonstration.files
    assert [line for line in caplog.messages if f"in {path.name} nothing was ever pressed or turned" in line]
    caplog.clear()
    Session(tmp_path / "driven").run({}, 10)
    assert not caplog.messages


def test_nothing_pressed_is_told_early_and_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(tmp_path)
    session.steering = lambda seconds: 0.0
    session.run({}, round(30 * RATE_HZ))
    early = [line for line in caplog.messages if line.startswith("nothing was pressed or turned for 10 s")]
    assert len(early) == 1
    assert caplog.messages[0] == early[0], "before the episode ends"


def test_a_stick_that_rests_beside_the_middle_is_told_and_a_driven_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worn = Session(tmp_path / "worn")
    worn.steering = lambda seconds: 0.4 + 0.005 * np.sin(9 * seconds)
    worn.run({}, round(30 * RATE_HZ))
    assert [line.partition(",")[0] for line in caplog.messages] == ["steering has rested at 0.40 for 10 s"]
    caplog.clear()
    Session(tmp_path / "driven").run({}, round(30 * RATE_HZ))
    paused = Session(tmp_path / "paused")
    paused.steering = lambda seconds: 0.4 if seconds > 2 else float(np.sin(seconds))
    paused.run({140: "pause_or_go_on", 180: "pause_or_go_on"}, 300)  # 5 s, a pause of 2 s, 6 s
    assert not caplog.messages


def test_full_throttle_and_hands_off_are_no_fault() -> None:
    watch = RestWatch()
    driven = [watch.look(Controls(0.0, 1.0 if k > 5 else 0.3), k * S // 10) for k in range(600)]
    assert not any(driven)
    silent = [watch.look(Controls(0.0, 0.5), k * S // 10) for k in range(600, 900)]
    (line,) = [line for lines in silent for line in lines]
    assert line.startswith("throttle has rested at 0.50")


def test_full_lock_for_a_while_is_no_fault_and_for_half_a_minute_is_told() -> None:
    """A person who drives in a circle was told of a worn stick."""
    for end in (-1.0, 0.97):
        watch = RestWatch()
        circle = [watch.look(Controls(end, 0.3 + k % 2 / 2), k * S // 10) for k in range(290)]
        assert not any(circle)
        asleep = [watch.look(Controls(end, 0.3 + k % 2 / 2), k * S // 10) for k in range(290, 900)]
        (line,) = [line for lines in asleep for line in lines]
        assert line.startswith(f"steering has rested at {end:.2f} for 30 s")


def test_the_first_episode_is_open_before_the_time_runs(tmp_path: Path) -> None:
    demonstration = Session(tmp_path).demonstration
    with demonstration:
        assert demonstration.recording
        assert list(tmp_path.glob("*.recording"))
    assert not list(tmp_path.iterdir()), "an episode without rows leaves no file"


def test_the_sampler_passes_on_that_the_person_is_not_heard() -> None:
    class Asleep(Hands):
        def read(self) -> Controls:
            return NEUTRAL

    track = ControlTrack()
    with Sampler(Asleep(), track):
        assert track.unheard == "asleep"
    assert track.unheard == "asleep"
