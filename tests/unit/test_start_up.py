"""`--help` answers at once: it imports no library that takes long."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "numpy",
    "cv2",
    "pyarrow",
    "openvino",
    "onnxruntime",
    "gymnasium",
    "pygame",
    "keras",
    "tensorflow",
    "matplotlib",
)

PROBE = """
import contextlib, io, json, sys
from agent.cli import main
command, heavy = sys.argv[1], json.loads(sys.argv[2])
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as output:
    main([command, "--help"] if command else ["--help"])
print(json.dumps({"usage": output.getvalue()[:6], "imported": [name for name in heavy if name in sys.modules]}))
"""


@pytest.mark.parametrize("command", ["", "drive", "record", "occlusion"])
def test_help_imports_no_heavy_library(command: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROBE, command, json.dumps(HEAVY)], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == {"usage": "usage:", "imported": []}
