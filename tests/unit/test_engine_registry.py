"""Every engine is asked for what it is: its name is only a name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.errors import EngineError
from agent.engines import registry
from agent.engines.base import Engine
from agent.engines.registry import EngineChoices, EngineEntry, EngineRequest, find_engine, find_engines, load_engine

ROOT = Path(__file__).parents[2]
NAMES = (
    "openvino",
    "openvino-bf16",
    "openvino-int8",
    "onnxruntime",
    "onnxruntime-int8",
    "onnxruntime-cuda",
    "onnxruntime-directml",
    "onnxruntime-coreml",
    "constant",
    "tensorflow",
)


def test_the_engines_are_these() -> None:
    assert registry.engine_names() == NAMES
    assert tuple(EngineChoices()) == ("auto", *NAMES)
    assert all(name in EngineChoices() for name in ("auto", *NAMES))
    assert "openvino-f64" not in EngineChoices()
    broken: list[str] = []
    assert tuple(entry.name for entry in find_engines(broken.append)) == NAMES
    assert broken == []


def test_an_entry_says_what_its_name_says() -> None:
    for name in NAMES:
        entry = find_engine(name)
        said = {part for part in (entry.precision, entry.device) if part not in ("f32", "cpu")}
        assert said == set(name.split("-")[1:])
        assert entry.packages or not entry.needs_weights
        assert entry.install or not entry.needs_weights


@pytest.mark.parametrize(
    "name", ["openvino", "onnxruntime", "constant", pytest.param("tensorflow", marks=pytest.mark.thorough)]
)
def test_an_engine_calls_itself_as_its_entry_does(name: str) -> None:
    engine = load_engine(name, ROOT / "model_weights" / "carracing", game="carracing")
    assert engine.name == name
    assert engine.spec.game == "carracing"
    engine.close()


def test_a_name_that_is_none_is_told_with_those_there_are() -> None:
    with pytest.raises(EngineError, match=r"'openvino-f64' is unknown, expected one of openvino, .*tensorflow\."):
        load_engine("openvino-f64", Path("nowhere"))


def test_auto_never_offers_int8_on_onnx_runtime_nor_another_device() -> None:
    offered = {entry.name for entry in find_engines(pytest.fail) if entry.automatic is not registry.never}
    assert offered == {"openvino", "openvino-bf16", "openvino-int8"}


def test_int8_on_onnx_runtime_is_refused_with_what_to_take() -> None:
    with pytest.raises(EngineError, match=r"slower than onnxruntime, .* Take --engine openvino-int8\.$") as caught:
        load_engine("onnxruntime-int8", ROOT / "model_weights" / "carracing")
    assert "\n" not in str(caught.value)


def test_the_names_that_come_along_cost_no_look_into_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(group: str) -> None:
        raise AssertionError("it looked into other packages")

    monkeypatch.setattr(registry, "find_plugins", look)
    assert "openvino-int8" in EngineChoices()
    assert find_engine("onnxruntime-int8").precision == "int8"


def test_an_engine_that_fails_with_a_surprise_is_not_hushed_up() -> None:
    def make(request: registry.EngineRequest) -> Engine:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        EngineEntry(name="ours", runtime="nothing", make=make).load(registry.EngineRequest(ROOT))


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_module_takes_an_engines_name_apart() -> None:
    """Ends of names stand nowhere as texts of their own."""
    parts = {"-int8", "-bf16", "-cuda", "-directml", "-coreml"}
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for folder in ("agent", "training", "scripts")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        if text in parts
    ]
    assert found == []


def test_the_constant_engine_decides_as_often_as_the_game_wants() -> None:
    request = EngineRequest(Path("nowhere"), game="mine", rate_hz=10.0)
    assert find_engine("constant").load(request).spec.rate_hz == 10.0
    assert find_engine("constant").load(EngineRequest(Path("nowhere"), game="mine")).spec.rate_hz == 25.0
