"""The fastest engine is measured once and remembered; int8 is a candidate only where driving approved it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import EngineError, WeightsError
from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec, Quantization
from agent.engines import choice
from agent.engines.base import Prediction
from agent.engines.choice import candidates, choose_engine

VALUES = {"steering": 0.0, "throttle": 0.0, "brake": 0.0}
FLOAT = ModelSpec("tiny", "pilotnet", "carracing", 16, 8)
INT8 = replace(FLOAT, quantization=Quantization(128, VALUES, VALUES, VALUES))
APPROVED = replace(FLOAT, quantization=Quantization(128, VALUES, VALUES, VALUES, {"tracks": 100.0}))


class SlowEngine:
    """Lets the patched clock go on by its own milliseconds a pass."""

    def __init__(self, name: str, clock: "Clock", pass_ms: float) -> None:
        self.name, self.spec, self.closed = name, FLOAT, False
        self._clock, self._pass_ms = clock, pass_ms

    def infer(self, observation: Observation) -> Prediction:
        assert observation.shape == (8, 16, 3)
        self._clock.now_s += self._pass_ms / 1e3
        return np.zeros(3, np.float32)

    def close(self) -> None:
        self.closed = True


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Machine:
    """Engines by name with their milliseconds a pass; those without are not to be had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **pass_ms: float) -> None:
        self.clock = Clock()
        monkeypatch.setattr(choice.time, "perf_counter", self.clock)
        self.pass_ms = {name.replace("_", "-"): value for name, value in pass_ms.items()}
        self.loaded: list[SlowEngine] = []
        self.said: list[str] = []

    def load(self, name: str) -> SlowEngine:
        if name not in self.pass_ms:
            raise EngineError(f"no {name} here")
        assert all(engine.closed for engine in self.loaded), "two networks at once take twice the memory"
        self.loaded.append(SlowEngine(name, self.clock, self.pass_ms[name]))
        return self.loaded[-1]

    def choose(self, spec: ModelSpec, memory: Path, threads: int | None = None) -> str:
        self.loaded, self.said = [], []
        engine = choose_engine(spec, threads, self.load, self.said.append, memory)
        assert [each for each in self.loaded if not each.closed] == [engine]
        return engine.name


def test_int8_is_a_candidate_only_where_driving_approved_it() -> None:
    for spec in (FLOAT, INT8):
        assert [entry.name for entry in candidates(spec)] == ["openvino-bf16", "openvino"]
    assert [entry.name for entry in candidates(APPROVED)] == ["openvino-int8", "openvino-bf16", "openvino"]


def test_the_fastest_is_chosen_said_and_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, openvino=90, openvino_bf16=30, openvino_int8=20)
    memory = tmp_path / "cache" / "engines.json"
    assert machine.choose(APPROVED, memory) == "openvino-int8"
    assert "openvino-int8 is the fastest engine here" in machine.said[0]
    assert "openvino-int8 20 ms, openvino-bf16 30 ms)" in machine.said[0]
    before = machine.clock.now_s
    assert machine.choose(APPROVED, memory) == "openvino-int8"
    assert machine.clock.now_s == before, "a remembered choice is not measured again"
    assert machine.said == []


def test_an_engine_that_does_not_run_here_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, openvino=90)
    assert machine.choose(APPROVED, tmp_path / "engines.json") == "openvino"
    (line,) = machine.said
    assert "openvino is the fastest engine here (a pass: openvino 90 ms)" in line
    assert "openvino-int8 does not run: no openvino-int8 here" in line
    assert "openvino-bf16 does not run: no openvino-bf16 here" in line


def test_a_damaged_file_is_told_and_not_driven_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, openvino=90)

    def load(name: str) -> SlowEngine:
        if name == "openvino-int8":
            raise WeightsError("weights-int8.safetensors has SHA-256 0")
        return machine.load(name)

    with pytest.raises(WeightsError, match="SHA-256"):
        choose_engine(APPROVED, None, load, machine.said.append, tmp_path / "engines.json")


def test_where_int8_is_slower_float_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, openvino=40, openvino_int8=60)
    assert machine.choose(APPROVED, tmp_path / "engines.json") == "openvino"


@pytest.mark.parametrize("change", ["weights", "threads", "versions"])
def test_a_change_has_it_measured_anew(change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory = tmp_path / "engines.json"
    assert Machine(monkeypatch, openvino=40, openvino_bf16=20).choose(FLOAT, memory) == "openvino-bf16"
    later = Machine(monkeypatch, openvino=40)  # bfloat16 is gone, and would fail if remembered
    spec = replace(FLOAT, sha256={"weights.safetensors": "ab" * 32}) if change == "weights" else FLOAT
    if change == "versions":
        monkeypatch.setattr(choice, "version", lambda package: "99")
    assert later.choose(spec, memory, threads=1 if change == "threads" else None) == "openvino"
    assert later.said


def test_a_remembered_engine_that_no_longer_runs_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory = tmp_path / "engines.json"
    Machine(monkeypatch, openvino=40, openvino_bf16=20).choose(FLOAT, memory)
    assert Machine(monkeypatch, openvino=40).choose(FLOAT, memory) == "openvino"


def test_the_last_engines_failure_is_told_when_none_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no openvino here"):
        Machine(monkeypatch).choose(FLOAT, tmp_path / "engines.json")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 3}'])
def test_a_damaged_memory_costs_a_measurement_and_no_more(
    content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    memory = tmp_path / "engines.json"
    memory.write_text(content)
    assert Machine(monkeypatch, openvino=40).choose(FLOAT, memory) == "openvino"


def test_a_memory_that_cannot_be_written_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = Machine(monkeypatch, openvino=40)
    memory = tmp_path / "file" / "engines.json"
    for _ in range(2):
        assert machine.choose(FLOAT, memory) == "openvino"
        (line,) = machine.said
        assert f"not remembered: {memory} cannot be written (" in line
        assert "; remembered" not in line
