"""A look inside of a network: the maps of its layers, and the evidence for an output in each part of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino.properties import hint, inference_num_threads

from agent.contract.errors import EngineError
from agent.contract.observation import Observation
from agent.engines.model_folder.embedding import embed_weights
from agent.engines.model_folder.opening import check_observation, open_model_folder
from agent.engines.registry import Precision
from agent.engines.tail import Average, Tail, Values

Maps = npt.NDArray[np.float32]
"""float32, shape (maps, height, width): what the filters of a layer answer, over the picture."""


_FOLLOWING = ("Relu", "Multiply", "Add", "Subtract", "Convert", "FakeQuantize")
"""What may follow a layer and belongs to it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an output is made of: ``map.sum() + rest == prediction``, but for rounding.

    Attributes:
        map: float32, shape (height, width) of the last layer: what each part of the picture adds to the output.
        rest: The part of the output that belongs to no place.
        prediction: The output.
    """

    map: npt.NDArray[np.float32]
    rest: float
    prediction: float


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen in one pass.

    Attributes:
        maps: The layers' maps, by name.
        evidence: By name of the output.
    """

    maps: dict[str, Maps]
    evidence: dict[str, Evidence]


class InsideNetwork:
    """A model folder's network on OpenVINO, whose layers can be read.

    Args:
        folder: The model.
        precision: The arithmetic; with ``bf16``, that of the processor if it has it.
        threads: Processor threads.

    Attributes:
        layers: Names of the layers, in the order of computing.

    Raises:
        AgentError: If the folder cannot be used, or the network does not end in averages over the picture or its parts.
    """

    def __init__(self, folder: Path, precision: Precision = "f32", threads: int = 1) -> None:
        opened = open_model_folder(folder, int8=precision == "int8")
        self.spec = opened.spec
        self._core = openvino.Core()
        self._content = embed_weights(opened.graph, opened.weights)
        self._settings: dict[Any, Any] = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            hint.inference_precision: openvino.Type.f32 if precision == "f32" else openvino.Type.bf16,
            hint.enable_cpu_pinning: False,
            inference_num_threads: threads,
        }
        model = self._core.read_model(self._content)
        pools = [node for node in model.get_ordered_ops() if _is_pool(node)]
        if not pools:
            raise EngineError(
                "the network does not end in averages over the picture or its parts: what it looks at cannot be shown."
            )
        self._last = pools[-1].input_value(0).get_node().get_friendly_name()
        self._average = Average.of(pools[-1])
        self._tail = Tail(model, pools[-1])
        self._places = _layers(model, self._last)
        self.layers = tuple(self._places)
        self._compiled: tuple[frozenset[str], Any] | None = None

    def look(self, observation: Observation, layers: Sequence[str] = (), outputs: Sequence[str] = ()) -> Look:
        """Compute layers, and the evidence for outputs, in one pass.

        Args:
            observation: The network's input.
            layers: Names of layers.
            outputs: Names of outputs.

        Raises:
            ValueError: If the observation is not of the network's size, or there is no such layer or output.
        """
        check_observation(self.spec, observation)
        unknown = [name for name in (*layers, *outputs) if name not in (*self.layers, *self.spec.output_names)]
        if unknown:
            raise ValueError(f"the network has no layer or output {unknown[0]!r}, expected one of its own")
        wanted = [self._places[name] for name in layers]
        values = self._run(observation, frozenset(wanted) | ({self._last} if outputs else set()))
        maps = {name: values[place][0] for name, place in zip(layers, wanted, strict=True)}
        return Look(maps, {name: self._evidence(values[self._last], name) for name in outputs})

    def _evidence(self, features: Values, output: str) -> Evidence:
        means = self._average.over(features)
        prediction, gradient = self._tail.run(means, self.spec.output_names.index(output))
        parts = np.einsum("chw,chw->hw", self._average.shares(gradient, features.shape)[0], features[0])
        return Evidence(parts.astype(np.float32), prediction - float((gradient * means).sum()), prediction)

    def _run(self, observation: Observation, places: frozenset[str]) -> dict[str, Values]:
        if self._compiled is None or self._compiled[0] != places:
            model = self._core.read_model(self._content)
            by_name = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
            model.add_outputs([by_name[place].output(0) for place in sorted(places)])
            self._compiled = places, self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        results = self._compiled[1].infer([observation[np.newaxis]], share_outputs=False)
        found = list(results.values())[1:]  # behind the prediction, in the order they were added
        return {place: np.asarray(value, np.float32) for place, value in zip(sorted(places), found, strict=True)}


def _is_pool(node: Any) -> bool:
    if node.get_type_name() == "AvgPool":
        return True
    shape = node.output(0).get_partial_shape()
    return node.get_type_name() == "ReduceMean" and len(shape) == 4 and list(shape)[2:] == [1, 1]


def _layers(model: Any, last: str) -> dict[str, str]:
    """Return where each layer is read, by name: behind its ReLU; of the last one, what is averaged, ReLU or not."""
    places: dict[str, str] = {}
    for node in model.get_ordered_ops():
        if not (node.get_output_size() and len(node.output(0).get_partial_shape()) == 4):
            continue
        name = node.get_friendly_name()
        if name == last and _shown_name(node) in places:  # int8: the layer's ReLU, rounded
            places[_shown_name(node)] = name
        elif node.get_type_name() == "Relu" or name == last:
            shown, number = _shown_name(node), 2
            while shown in places:
                shown = f"{_shown_name(node)} {number}"
                number += 1
            places[shown] = name
    return places


def _shown_name(node: Any) -> str:
    """Return the name that the network's maker gave to the layer of an operation, without its folder."""
    while node.get_type_name() in _FOLLOWING and not _is_given(node.get_friendly_name()):
        node = node.input_value(0).get_node()
    name: str = node.get_friendly_name()
    return name.partition("/WithoutBiases")[0].rpartition("/")[2].removesuffix("_bn")


def _is_given(name: str) -> bool:
    """Return whether a name is the maker's, such as ``xception/block14_sepconv2_bn``."""
    return "/" in name and not name.startswith(("dq_", "q_"))
