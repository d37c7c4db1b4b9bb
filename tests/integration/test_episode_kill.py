"""A recording that is killed keeps everything up to its last full second."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agent.contract.episode import recover

RATE_HZ = 10

RECORD = f"""
import sys
from pathlib import Path
import numpy as np
from agent.contract.controls import Controls
from agent.contract.episode import EpisodeHeader, EpisodeRow, EpisodeWriter
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
