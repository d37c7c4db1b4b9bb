"""What other projects have left in Keras' settings, a backend that is missing, Ctrl-C in the first second."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from training.cli import main
from training.fitting.folder import settle
from training.fitting.settings import FitSettings

pytestmark = pytest.mark.thorough

REPOSITORY = Path(__file__).parents[2]
EPISODE = "made-up.parquet"
FIT = ("fit", "--data", EPISODE, "--out", "nowhere")
WEIGHTS = str(REPOSITORY / "model_weights" / "carracing")


def start(more: str, **options: Any) -> subprocess.CompletedProcess[str]:
    program = f"import os, training.network.keras_start as module\n{more}"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, **options)


def test_nothing_is_written_as_keras_starts_and_computes() -> None:
    """Five lines were, of C++ parts that do not know the level yet and of graphics cards that are not there."""
    more = "module.start_keras()\nimport keras\nkeras.ops.matmul(keras.ops.zeros((2, 2)), keras.ops.zeros((2, 2)))"
    run = start(more)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("end", ["raise RuntimeError('no start')", "os.abort()", "os._exit(7)"])
def test_what_is_written_as_a_start_fails_is_shown_and_notes_are_not(end: str) -> None:
    more = f"""
def fail():
    os.write(2, b"I0000 00:00:1.2 port.cc:1] a note\\nF0000 the reason\\nno newline at the end")
    {end}
module._import_keras = fail
module.start_keras()
"""
    run = start(more)
    assert run.returncode != 0
    assert run.stderr.startswith("F0000 the reason\nno newline at the end")
    assert "a note" not in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="closes a file descriptor as Unix does")
def test_keras_starts_where_there_is_no_stderr() -> None:
    run = start("module.start_keras()\nprint('started')", preexec_fn=lambda: os.close(2))
    assert run.stdout == "started\n"


def run_training(folder: Path, *command: str, blocked: tuple[str, ...] = (), **environment: str) -> str:
    """Run a command of the trainer beside what looks like an episode; it must fail with one line, which is returned."""
    (folder / EPISODE).touch()
    program = f"""
import sys
sys.modules |= dict.fromkeys({blocked!r})
from training.cli import main
from training.fitting.settings import FitSettings
from training.fitting.folder import settle
sys.exit(main({list(command)!r}))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    lines = run.stderr.splitlines()
    assert (run.returncode, len(lines)) == (1, 1), run.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (FIT, "keras"),
        (("speed",), "tensorflow"),
        (("export", "--weights", WEIGHTS, "--out", "new"), "keras"),
    ],
)
def test_packages_of_training_that_are_missing_are_told_in_one_line(
    command: tuple[str, ...], missing: str, tmp_path: Path
) -> None:
    line = run_training(tmp_path, *command, blocked=(missing,))
    assert line.startswith(f"error: {missing} is not installed")
    assert "pip install '.[training]'" in line


@pytest.mark.parametrize(
    ("backend", "reason"),
    [("openvino", "KERAS_BACKEND=openvino cannot train"), ("theano", "with KERAS_BACKEND=theano")],
)
def test_a_backend_that_cannot_train_is_refused_before_anything_is_read(
    backend: str, reason: str, tmp_path: Path
) -> None:
    line = run_training(tmp_path, *FIT, KERAS_BACKEND=backend)
    assert reason in line
    assert "Unset KERAS_BACKEND" in line


def test_a_backend_whose_package_is_missing_is_named(tmp_path: Path) -> None:
    assert "KERAS_BACKEND=torch needs torch" in run_training(tmp_path, *FIT, blocked=("torch",), KERAS_BACKEND="torch")


def keras_is_started() -> None:
    raise AssertionError("Keras takes 10 s to start, and more on a busy machine")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("nope", "nope does not exist"),
        ("empty", "empty holds no episodes"),
        ("above", "but 1 folder (day) with some"),
        ("unsealed", "never sealed as one"),
        ("unsealed/a.recording", "was never sealed as an episode"),
        ("notes.txt", "notes.txt is no episode"),
    ],
)
@pytest.mark.parametrize("command", [("fit",), ("export", "--weights", WEIGHTS, "--int8")])
def test_data_that_are_none_are_told_before_keras_is_started(
    data: str,
    said: str,
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("empty/", "above/day/a.parquet", "unsealed/a.recording", "notes.txt"):
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    for module in ("sessions.fit", "commands.export"):
        monkeypatch.setattr(f"training.{module}.start_keras", keras_is_started)
    out = tmp_path / "run"
    assert main([*command, "--data", str(tmp_path / data), "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--init", "nothing"), "--init nothing holds no weights"),
        (("--game", "nothing"), "nothing"),
        (("--out", "run", "--width", "40"), "holds a run with other settings (width_px)"),
    ],
)
def test_a_run_that_cannot_be_is_told_before_keras_is_started(
    more: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(EPISODE).touch()
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    config = FitSettings(data=(Path(EPISODE),), out=Path("run"), width_px=30).config()
    settle(config, [Path(EPISODE)], print)
    monkeypatch.setattr("training.sessions.fit.start_keras", keras_is_started)
    assert main([*FIT, *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_weights_that_are_none_are_told_before_keras_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.commands.export.start_keras", keras_is_started)
    assert main(["export", "--weights", str(tmp_path / "nothing"), "--out", str(tmp_path / "new")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "spec.json" in line


def test_other_settings_of_keras_are_put_right(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(
        json.dumps(
            {"floatx": "float16", "epsilon": 1e-7, "backend": "tensorflow", "image_data_format": "channels_first"}
        )
    )
    program = (
        "from training.network.keras_start import start_keras; start_keras(); import keras; "
        "print(keras.config.floatx(), keras.config.image_data_format())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"KERAS_HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert run.stdout.split() == ["float32", "channels_last"], run.stderr


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix' signals")
@pytest.mark.parametrize("program", ["agent", "training"])
def test_ctrl_c_while_the_program_is_imported_is_no_traceback(program: str, tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    imported = tmp_path / "imported"
    slow.write_text(
        "import sys, pathlib, time, types\n"
        "class Slow:\n"
        f"    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{program}.commands.options' or name == 'agent.commands.options':\n"
        f"            pathlib.Path({str(imported)!r}).touch()\n"
        "            time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "import runpy\n"
        f"runpy.run_module('{program}', run_name='__main__')\n"
    )
    running = subprocess.Popen(
        [sys.executable, str(slow)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while not imported.exists():
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "interrupted\n")
