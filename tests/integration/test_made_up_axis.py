"""An axis added in one place is driven, recorded, trained on, replayed and filmed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.thorough

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("made_up_axis.py")
LAST = "    handbrake: float = _axis(0.0, 1.0)\n"
ADDED = "    boost: float = _axis(-0.5, 2.0, mirrored=True)\n"


def test_an_axis_that_is_added_in_one_place_is_everywhere(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for part in ("agent", "training"):
        shutil.copytree(REPOSITORY / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    table = house / "agent" / "contract" / "controls.py"
    text = table.read_text(encoding="utf-8")
    assert text.count(LAST) == 1
    table.write_text(text.replace(LAST, LAST + ADDED), encoding="utf-8")
    program = shutil.copy(PROGRAM, house)  # beside the packages, which it therefore imports

    run = subprocess.run([sys.executable, program, "boost", tmp_path], capture_output=True, text=True, cwd=house)

    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    axes = ["steering", "throttle", "brake", "boost"]
    assert found["in_memory"] == [-0.5, 2.0]  # clipped to the range of the one line
    assert found["in_real_time"] == 1.0
    sent, *_, closing = found["through_the_guard"]
    assert (sent, closing) == (1.0, 0.0)
    assert found["on_a_pad"] == {"axes": axes, "right_x": 16384}
    assert found["recorded"]["axes"] == axes
    np.testing.assert_allclose(found["recorded"]["labels"], -0.5 + 2.5 * np.arange(12) / 12, rtol=1e-6)
    assert found["trained"] == axes
    assert found["mirrored"] == [-1.0]
    assert list(found["replayed"]) == axes
    assert found["replayed"]["boost"] == pytest.approx(1.0, abs=1.5)  # two steps of training: a number, not a skill
    left, right = found["filmed"]["bar"]
    assert found["filmed"]["pictures"] == 10
    assert 3 * 600 / 4 < left < right < 600  # its bar is the last of four
