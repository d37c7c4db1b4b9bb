"""Timing on a fake clock with fake engines; nothing here depends on how fast the machine is."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agent.contract.controls import Controls
from agent.contract.errors import EngineError, MeasurementError
from agent.contract.observation import Observation
from agent.contract.spec import ModelSpec
from agent.engines.base import Engine, Prediction
from agent.engines.constant import ConstantEngine
from agent.engines.registry import EngineEntry, find_engine
from agent.measuring.bench import GAME_SEED, DrivePass, GameBeside, interleave, run_bench
from agent.measuring.bench_report import STAGES, BenchReport, Spread, installed_mb, summarise
from agent.measuring.workers import Turn, WorkerProcess
from agent.system.pacing import VirtualClock
from training.engines.entries import KERAS_PREDICT

SPEC = ModelSpec(name="tiny", backbone="none", game="carracing")
PEAKS = {"f32": 1e9, "int8": 4e9}


class SlowEngine(ConstantEngine):
    """Takes 20 ms of a virtual clock for a forward pass."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(SPEC, Controls(-0.25, 0.75, 0.5))
        self._clock = clock

    def infer(self, observation: Observation) -> Prediction:
        self._clock.sleep(0.02)
        return super().infer(observation)


class FakeWorker:
    """Notes its turns; its n-th pass takes n times its own seconds."""

    def __init__(self, name: str, own_s: float, log: list[str]) -> None:
        self.name = name
        self._own_s = own_s
        self._log = log
        self._made = 0

    def measure(self, passes: int) -> Turn:
        self._log.append(self.name)
        numbers = np.arange(self._made + 1, self._made + 1 + passes, dtype=np.float64)
        self._made += passes
        return numbers[:, np.newaxis] * self._own_s


def named(name: str) -> EngineEntry:
    return EngineEntry(name=name, runtime="nothing", make=lambda request: make_constant())


def make_constant() -> Engine:
    return ConstantEngine(SPEC, Controls(0.0, 0.1, 0.0))


def make_broken() -> Engine:
    raise EngineError("the weights are gone.")


def make_uninstalled() -> Engine:
    import no_such_runtime  # type: ignore[import-not-found]

    return no_such_runtime.Engine()  # type: ignore[no-any-return]


def exit_at_once() -> Engine:
    import os

    os._exit(7)


def make_pass_that_counts() -> Callable[[], Sequence[float]]:
    made: list[float] = []

    def count() -> Sequence[float]:
        made.append(1.0)
        return (float(len(made)),)

    return count


def turns(infer_s: Sequence[float], other_s: float = 0.001) -> Turn:
    table = np.full((len(infer_s), len(STAGES)), other_s)
    table[:, STAGES.index("infer")] = infer_s
    return table


def report(**changes: Any) -> BenchReport:
    slow = summarise(KERAS_PREDICT, turns([0.4, 0.4]), 11.0, 800.0, 1_000_000, PEAKS)
    fast = summarise(find_engine("openvino-int8"), turns([0.05, 0.05]), 1.5, None, 1_000_000, PEAKS)
    made = BenchReport("tiny", 1_000_000, PEAKS, 2, 1, None, (fast, slow), ("keras-predict",), {}, None)
    return replace(made, **changes)


# --- a pass ----------------------------------------------------------------------------------------------------------


def test_a_pass_times_each_stage_by_itself() -> None:
    clock = VirtualClock()
    seconds = dict(zip(STAGES, DrivePass(SlowEngine(clock), clock)(), strict=True))
    assert seconds == {"capture": 0.0, "preprocess": 0.0, "infer": 0.02, "map": 0.0, "send": 0.0}


@pytest.mark.parametrize("slow_stage", ["capture", "preprocess", "map", "send"])
def test_every_stage_is_charged_for_its_own_work(monkeypatch: pytest.MonkeyPatch, slow_stage: str) -> None:
    clock = VirtualClock()
    one_pass = DrivePass(SlowEngine(clock), clock)
    where, name = {
        "capture": ("agent.measuring.bench", "Frame"),
        "preprocess": ("agent.measuring.bench", "preprocess"),
        "map": ("agent.contract.controls.Controls", "arbitrate"),
        "send": ("agent.controllers.memory.MemoryController", "send"),
    }[slow_stage]
    parts = where.split(".")
    owner: Any = __import__(".".join(part for part in parts if part.islower()), fromlist=["x"])
    for part in parts:
        owner = getattr(owner, part) if not part.islower() else owner
    original = getattr(owner, name)

    def slower(*arguments: Any) -> Any:
        clock.sleep(0.005)
        return original(*arguments)

    monkeypatch.setattr(owner, name, slower)
    seconds = dict(zip(STAGES, one_pass(), strict=True))
    assert seconds == {stage: {slow_stage: 0.005, "infer": 0.02}.get(stage, 0.0) for stage in STAGES}


# --- turns -----------------------------------------------------------------------------------------------------------


def test_workers_alternate_and_keep_their_own_times() -> None:
    log: list[str] = []
    workers = [FakeWorker("a", 1.0, log), FakeWorker("b", 10.0, log), FakeWorker("c", 100.0, log)]
    ended: list[int] = []
    result = interleave(workers, rounds=2, passes=3, on_turn=lambda: ended.append(len(log)))
    assert log == ["a", "b", "c", "a", "b", "c"]
    assert ended == [1, 2, 3, 4, 5, 6]
    assert result["a"].ravel().tolist() == [1, 2, 3, 4, 5, 6]
    assert result["b"].ravel().tolist() == [10, 20, 30, 40, 50, 60]
    assert list(result) == ["a", "b", "c"]


@pytest.mark.parametrize(("rounds", "passes", "count"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_nothing_to_do_is_the_callers_mistake(rounds: int, passes: int, count: int) -> None:
    with pytest.raises(ValueError, match="expected at least one of each"):
        interleave([FakeWorker("a", 1.0, [])] * count, rounds, passes)


# --- the game beside -------------------------------------------------------------------------------------------------


class FakeGame:
    """Draws 50 pictures a second of a virtual clock once it is started, for 20 s an episode."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._index = 0
        self._started_ns: int | None = None
        self.commands: list[str] = []
        self.source = SimpleNamespace(read=self._read)

    def _elapsed_s(self) -> float:
        return 0.0 if self._started_ns is None else (self._clock() - self._started_ns) / 1e9

    def _read(self) -> Any:
        return SimpleNamespace(index=self._index + round(self._elapsed_s() * 50))

    @property
    def state(self) -> Any:
        return SimpleNamespace(outcome="driving" if self._elapsed_s() < 20 else "timeout", time_s=self._elapsed_s())

    def restart(self, seed: int) -> None:
        self._index = self._read().index
        self._started_ns = None
        self.commands.append(f"restart {seed}")

    def start(self) -> None:
        self._started_ns = self._clock()
        self.commands.append("start")


def test_the_game_is_started_and_its_pictures_are_counted_by_whose_turn_it_is() -> None:
    clock = VirtualClock()
    game = FakeGame(clock)
    beside = GameBeside(game, clock)  # type: ignore[arg-type]

    def turn(seconds: float) -> Turn:
        clock.sleep(seconds)
        return np.full((1, 1), seconds)

    assert beside.watch("a", partial(turn, 2.0)).item() == 2.0
    beside.watch("b", partial(turn, 1.0))
    beside.watch("a", partial(turn, 4.0))
    assert game.commands == [f"restart {GAME_SEED}", "start"]
    assert beside.frames_per_s() == {"a": 50.0, "b": 50.0}


def test_the_games_episode_is_renewed_between_turns_before_its_time_is_up() -> None:
    clock = VirtualClock()
    game = FakeGame(clock)
    beside = GameBeside(game, clock)  # type: ignore[arg-type]

    def turn() -> Turn:
        clock.sleep(2.0)
        assert game.state.outcome == "driving", "the game stood still during a turn"
        return np.zeros((1, 1))

    for _ in range(30):
        beside.watch("a", turn)
    assert game.commands.count("start") == 5
    assert beside.frames_per_s() == {"a": 50.0}


def test_a_game_that_draws_less_beside_an_engine_shows_it() -> None:
    clock = VirtualClock()
    game = FakeGame(clock)
    beside = GameBeside(game, clock)  # type: ignore[arg-type]

    def hungry() -> Turn:
        clock.sleep(1.0)
        game._index -= 10
        return np.zeros((1, 1))

    beside.watch("hungry", hungry)
    assert beside.frames_per_s() == {"hungry": 40.0}


# --- the report ------------------------------------------------------------------------------------------------------


def test_percentiles_are_of_all_passes() -> None:
    spread = Spread.of(np.arange(101, dtype=np.float64))
    assert (spread.median_s, spread.p90_s, spread.p99_s) == (50.0, 90.0, 99.0)


def test_an_engine_is_summed_up_by_stage_and_from_end_to_end() -> None:
    times = summarise(find_engine("openvino-int8"), turns([0.010, 0.030, 0.020]), 1.5, 300.0, 10_000_000, PEAKS, 49.5)
    assert times.stages["infer"].median_s == 0.020
    assert times.stages["capture"].p99_s == pytest.approx(0.001)
    assert times.decision.median_s == pytest.approx(0.024)
    assert times.decisions_per_s == pytest.approx(3 / 0.072)
    assert times.limit_share == pytest.approx(10e6 / 0.020 / 4e9)
    assert (times.startup_s, times.peak_memory_mb, times.game_frames_per_s) == (1.5, 300.0, 49.5)


@pytest.mark.parametrize(
    ("engine", "peak"), [("openvino", 1e9), ("openvino-int8", 4e9), ("onnxruntime-int8", 4e9), ("tensorflow", 1e9)]
)
def test_the_limit_is_that_of_the_engines_precision(engine: str, peak: float) -> None:
    times = summarise(find_engine(engine), turns([0.1]), 1.0, None, 1_000_000, PEAKS)
    assert times.limit_share == pytest.approx(1_000_000 / 0.1 / peak)


def test_an_unknown_limit_has_no_share() -> None:
    assert summarise(find_engine("openvino-bf16"), turns([0.1]), 1.0, None, 1_000_000, PEAKS).limit_share is None
    assert summarise(find_engine("onnxruntime-cuda"), turns([0.1]), 1.0, None, 1_000_000, PEAKS).limit_share is None


@pytest.mark.thorough
def test_engines_are_compared_with_the_baselines_by_their_forward_pass() -> None:
    assert report().times_faster("openvino-int8") == pytest.approx({"keras-predict": 8.0})
    assert report().times_faster("keras-predict") == {}
    assert report(baselines=()).times_faster("openvino-int8") == {}


def test_the_floor_is_the_arithmetic_at_its_peak() -> None:
    assert report().floor_s("int8") == pytest.approx(1e6 / 4e9)


def test_a_report_is_json() -> None:
    plain = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    assert plain["floor_s"] == pytest.approx({"f32": 0.001, "int8": 0.00025})
    assert plain["engines"][0]["times_faster_than"] == pytest.approx({"keras-predict": 8.0})
    assert plain["engines"][0]["stages"]["infer"]["median_s"] == 0.05
    assert plain["engines"][0]["peak_memory_mb"] is None


def test_a_report_can_be_read_on_80_columns() -> None:
    console = Console(width=80, record=True, force_terminal=False)
    engines = tuple(replace(engine, game_frames_per_s=49.5) for engine in report().engines)
    engines += (replace(engines[0], name="onnxruntime-directml"),)
    for part in report(engines=engines, game_alone_frames_per_s=50.0).render():
        console.print(part)
    text = console.export_text()
    assert "…" not in text
    for expected in (
        "onnxruntime-directml",
        "openvino-int8",
        "keras-predict",
        "49.5",
        "11.0",
        "800",
        "50.0 frames",
        "int8: 0.2 ms",
    ):
        assert expected in text
    assert "with openvino-int8: 18.5 decisions a second" in text.replace("\n", " ")


def test_a_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    engines = report().engines
    unlimited = replace(engines[0], name="onnxruntime-cuda", limit_share=None)
    report(engines=(*engines, unlimited)).plot(tmp_path / "new" / "bench.png")
    assert (tmp_path / "new" / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    with pytest.raises(MeasurementError, match=r"bench\.png cannot be written"):
        report().plot(tmp_path / "file" / "bench.png")


# --- installed size ---------------------------------------------------------------------------------------------------


def package(folder: Path, name: str, size: int, requires: Sequence[str] = ()) -> None:
    """Lay out an installed package of one file."""
    (folder / f"{name}.bin").write_bytes(bytes(size))
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    (about / "RECORD").write_text(f"{name}.bin,,\n{name}.gone,,\n")


def test_the_installed_size_counts_what_a_runtime_requires_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "Some_Runtime", 5_000_000, ["Some.Arrays>=1", "tests; extra == 'test'", "gone; os_name == 'x'"])
    package(tmp_path, "some_arrays", 2_000_000, ["some-runtime"])
    package(tmp_path, "tests", 1_000_000)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed_mb(["some-runtime", "some_arrays"]) == pytest.approx(7.0)
    assert installed_mb(["not-there-at-all"]) is None


@pytest.mark.parametrize(
    "engine", [*map(find_engine, ("openvino", "openvino-int8", "onnxruntime", "tensorflow")), KERAS_PREDICT]
)
def test_an_engines_installed_size_is_stated(engine: EngineEntry) -> None:
    times = summarise(engine, turns([0.1]), 1.0, None, 1_000_000, PEAKS)
    assert times.installed_mb is not None
    assert 50 < times.installed_mb < 5000


# --- processes -------------------------------------------------------------------------------------------------------


def test_a_worker_leaves_one_pass_of_each_turn_uncounted() -> None:
    with WorkerProcess("counter", make_pass_that_counts) as worker:
        # The first pass belongs to the start-up, the second goes uncounted.
        assert worker.measure(3).ravel().tolist() == [3, 4, 5]
        assert worker.measure(2).ravel().tolist() == [7, 8]
        assert worker.startup_s > 0


@pytest.mark.thorough
def test_engines_that_cannot_be_had_are_told_of_and_left_out() -> None:
    said: list[str] = []
    totals: list[int] = []
    makers = {"broken": make_broken, "gone": make_uninstalled, "dead": exit_at_once, "constant": make_constant}
    engines = [(named(name), make) for name, make in makers.items()]
    found = run_bench("tiny", 1_000_000, engines, 1, 1, on_skip=said.append, on_turn=totals.append)
    assert [engine.name for engine in found.engines] == ["constant"]
    assert list(found.skipped) == ["broken", "gone", "dead"]
    assert "broken is of no use here: the weights are gone." in said[0]
    assert "no_such_runtime" in said[1]
    assert "the process of dead ended with exit code 7" in said[2]
    assert len(totals) == totals[0] >= 2
    assert found.peak_per_s["f32"] > 0
    assert found.engines[0].decisions_per_s > 0


def test_no_engine_at_all_is_an_error() -> None:
    with pytest.raises(EngineError, match="no engine is left"):
        run_bench("tiny", 1, [(named("broken"), make_broken)], 1)


def test_a_library_s_best_is_not_called_the_machine_s_limit() -> None:
    # 0.83 trillion 8-bit multiply-adds a second were called the limit of a processor that reaches 2.3 to 2.7.
    console = Console(width=80, record=True, force_terminal=False)
    for part in report().render():
        console.print(part)
    text = " ".join(console.export_text().split())
    assert "limit" not in text
    assert "OpenVINO's best here for 0.00 billion multiply-adds" in text
    assert "another library's kernels may do better" in text
