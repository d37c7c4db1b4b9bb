"""Ten minutes at 30 Hz: what a drive takes from the system does not grow. An hour: docs/safety.md."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.thorough

REPOSITORY = Path(__file__).parents[2]
SECONDS = 600


@pytest.mark.slow
def test_ten_minutes_leave_no_trace(tmp_path: Path) -> None:
    log, episodes = tmp_path / "health.json", tmp_path / "episodes"
    drive = ("drive", "--engine", "constant", "--rate", "30", "--seconds", str(SECONDS), "--json")
    outputs = ("--health", str(log), "--record", str(episodes))
    run = subprocess.run(
        [sys.executable, "-m", "agent", *drive, *outputs], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    health = json.loads(log.read_text())
    samples, growth = health["samples"], health["growth_per_hour"]
    timing = json.loads(run.stdout)["timing"]
    sys.stdout.write(json.dumps({"growth_per_hour": growth, "timing": timing}) + "\n")
    assert len(samples) >= 50
    settled = samples[len(samples) // 4 :]
    for figure, bound in (("memory_mb", 1.05), ("children_memory_mb", 1.1), ("handles", 1.1), ("threads", 1.1)):
        first, last = (
            np.median([sample[figure] for sample in part]) for part in (settled[: len(settled) // 3], settled[-10:])
        )
        assert last <= first * bound, f"{figure} grew from {first} to {last}"
