"""A recording that is killed loses at most its last second, and no earlier episode."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agent.cli import main
from agent.contract.episodes.reading import Episode
from agent.contract.episodes.sealing import recover

pytestmark = pytest.mark.thorough

RATE_HZ = 10

RECORD = f"""
import sys
from pathlib import Path
import numpy as np
from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame

with EpisodeWriter(Path(sys.argv[1]), EpisodeHeader("carracing", "expert", {RATE_HZ}.0)) as writer:
    for index in range(1_000_000):
        pixels = np.random.default_rng(index).integers(0, 256, (60, 80, 3), np.uint8)
        frame = Frame(pixels, captured_ns=index * 1_000_000_000 // {RATE_HZ}, index=index)
        writer.write(EpisodeRow(frame, Controls(index / 2**20), Controls(-index / 2**20), speed=float(index)))
        print(index, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="terminates, but has no SIGKILL")
@pytest.mark.parametrize("delay_s", [0.0, 0.047, 0.23])
def test_a_killed_recording_loses_at_most_its_last_second(tmp_path: Path, delay_s: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RECORD, str(tmp_path / "a.parquet")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(2 * RATE_HZ + 3)]  # somewhere in the third second
        time.sleep(delay_s)
        process.kill()
        written = len(seen) + len(process.stdout.read().splitlines())
    assert process.returncode == -9

    episode = recover(tmp_path / "a.recording")
    assert written - RATE_HZ <= len(episode) <= written + 1
    assert len(episode) >= 2 * RATE_HZ
    rows = np.arange(len(episode))
    np.testing.assert_array_equal(episode.tick, rows)
    np.testing.assert_array_equal(episode.controls[:, 0], (rows / 2**20).astype(np.float32))
    np.testing.assert_array_equal(episode.executed[:, 0], (-rows / 2**20).astype(np.float32))
    np.testing.assert_array_equal(episode.speed, rows.astype(np.float32))
    for index, frame in enumerate(episode.frames()):
        expected = np.random.default_rng(index).integers(0, 256, (60, 80, 3), np.uint8)
        np.testing.assert_array_equal(frame.pixels, expected)


RATE_LIVE_HZ = 30
RECORD_LIVE = f"""
import os, sys
from pathlib import Path
import numpy as np
from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.observation import Frame
from agent.observers.episode_writer import EpisodeRecorder
from agent.system.pacing import Pacer, clock_ns

noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
header = EpisodeHeader("carracing", "expert", {RATE_LIVE_HZ}.0)
for episode in range(100):
    with EpisodeRecorder(Path(sys.argv[1]) / f"{{episode}}.parquet", header) as recorder:
        for tick in Pacer(1 / {RATE_LIVE_HZ}).ticks():
            if tick.index == 45:  # a second and a half: kills come while one is sealed, too
                break
            pixels = np.roll(noise, tick.index, axis=1)
            frame, value = Frame(pixels, clock_ns(), tick.index), tick.index / 256
            row = EpisodeRow(frame, Controls(value), Controls(-value))
            if recorder.put(row):
                os.write(1, f"{{episode}} {{tick.index}}\\n".encode())
"""
NOISE = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)


def record_and_kill(folder: Path, after_s: float) -> float:
    """Kill a program that records one episode after another; return the seconds lost of the last.

    Asserts that every earlier episode is whole, and that frames and controls belong together.
    """
    with subprocess.Popen([sys.executable, "-c", RECORD_LIVE, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        taken = [process.stdout.readline()]
        time.sleep(after_s)
        process.kill()
        taken += process.stdout.read().splitlines()
    written: dict[int, int] = {}
    for line in taken:
        episode_number, tick = map(int, line.split())
        written[episode_number] = tick + 1
    assert main(["episodes", "repair", str(folder)]) in (0, 1)  # 1: of less than half a second nothing is left
    lost = 0
    for number, rows in written.items():
        path = folder / f"{number}.parquet"
        found = 0
        if path.exists():
            episode = Episode.open(path)
            found = len(episode)
            assert episode.tick.tolist() == list(range(found))
            np.testing.assert_array_equal(episode.controls[:, 0] * 256, np.arange(found))
            for index in (0, found // 2, found - 1):
                np.testing.assert_array_equal(episode.frame(index).pixels, np.roll(NOISE, index, axis=1))
        if number == max(written):
            lost = max(0, rows - found)
        else:
            assert found == rows == 45, f"episode {number}, done before the kill, has {found} rows of 45"
    return lost / RATE_LIVE_HZ


@pytest.mark.skipif(sys.platform == "win32", reason="terminates, but has no SIGKILL")
@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_kills_at_random_moments_cost_a_second_at_most(kills: int, tmp_path: Path) -> None:
    moments_s = np.random.default_rng(0).uniform(0.0, 3.5, kills)
    lost_s = [record_and_kill(tmp_path / str(kill), moment_s) for kill, moment_s in enumerate(moments_s)]
    sys.stdout.write(f"{kills} kills: {max(lost_s):.2f} s lost at most, {np.mean(lost_s):.2f} s in the mean\n")
    assert max(lost_s) <= 1.0
