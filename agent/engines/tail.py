"""The last layers of a network in NumPy: what each feature adds to an output.

A network of this project averages its last maps, over the picture or over each cell of a grid, and a few dense layers
with ReLU follow. For one
picture, such layers are one linear function: every ReLU either passes its number on or not. So an output is a sum over
the features plus a rest that does not depend on the picture's parts. The sum over the features is, by the average, a
sum over places of the picture: an exact class-activation map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.contract.errors import EngineError

Values = npt.NDArray[np.float32]
"""float32, any shape."""


@dataclass(frozen=True, slots=True)
class _Step:
    """An operation: ``forward`` gives its value, ``backward`` what a change of the value means for each input.

    Attributes:
        name: Name of its value.
        inputs: Names of the values that it takes.
        forward: From the inputs to the value.
        backward: From the gradient of the value, the inputs and the value to the gradient of each input.
    """

    name: str
    inputs: tuple[str, ...]
    forward: Callable[[list[Values]], Values]
    backward: Callable[[Values, list[Values], Values], list[Values]]


@dataclass(frozen=True, slots=True)
class Average:
    """The averages that a network's last maps end in.

    Attributes:
        size: Height and width of the windows that are averaged over; None for the whole picture.
        strides: From one window to the next, down and across.
    """

    size: tuple[int, int] | None = None
    strides: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, pool: Any) -> "Average":
        """Return what an operation of an OpenVINO model averages over: a ReduceMean or an AvgPool."""
        if pool.get_type_name() != "AvgPool":
            return cls()
        attributes = pool.get_attributes()
        down, across = (int(each) for each in attributes["kernel"])
        strides = tuple(int(each) for each in attributes["strides"])
        return cls((down, across), (strides[0], strides[1]))

    def over(self, features: Values) -> Values:
        """Return the averages: float32, shape (1, maps, rows, columns).

        Args:
            features: The last maps: float32, shape (1, maps, height, width).
        """
        if self.size is None:
            return np.asarray(features.mean(axis=(2, 3), keepdims=True), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(features, self.size, axis=(2, 3))
        return np.asarray(windows[:, :, :: self.strides[0], :: self.strides[1]].mean(axis=(4, 5)), np.float32)

    def shares(self, gradient: Values, shape: tuple[int, ...]) -> Values:
        """Return how much an output grows with each number of the last maps, of that shape.

        Args:
            gradient: How much it grows with each average.
            shape: (1, maps, height, width).
        """
        down, across = self.size or shape[2:]
        shares = np.zeros(shape, np.float32)
        for row, column in np.ndindex(*gradient.shape[2:]):
            top, left = row * self.strides[0], column * self.strides[1]
            each = gradient[:, :, row : row + 1, column : column + 1] / (down * across)
            shares[:, :, top : top + down, left : left + across] += each
        return shares


class Tail:
    """The operations behind a value of an OpenVINO model, up to its only result.

    Args:
        model: The model, not compiled.
        start: The operation whose value they begin with.

    Raises:
        EngineError: If there is an operation that is not one of dense layers.
    """

    def __init__(self, model: Any, start: Any) -> None:
        self._start = start.get_friendly_name()
        self._steps: list[_Step] = []
        known = {self._start}
        for node in model.get_ordered_ops():
            sources = [each.get_source_output().get_node() for each in node.inputs()]
            if not any(source.get_friendly_name() in known for source in sources):
                continue
            if node.get_type_name() == "Result":
                self._end = sources[0].get_friendly_name()
                continue
            self._steps.append(_step(node, sources, known))
            known.add(node.get_friendly_name())

    def run(self, features: Values, output: int) -> tuple[float, Values]:
        """Return an output, and how much it grows with each feature.

        Args:
            features: float32, the shape of the value that the tail begins with.
            output: The output's position.

        Returns:
            The output, and its gradient in the shape of the features.
        """
        values = {self._start: features}
        for step in self._steps:
            values[step.name] = step.forward([values[name] for name in step.inputs])
        end = values[self._end]
        gradients = {name: np.zeros_like(value) for name, value in values.items()}
        gradients[self._end].reshape(-1)[output] = 1
        for step in reversed(self._steps):
            inputs = [values[name] for name in step.inputs]
            changes = step.backward(gradients[step.name], inputs, values[step.name])
            for name, change in zip(step.inputs, changes, strict=True):
                gradients[name] += change.reshape(gradients[name].shape)
        return float(end.reshape(-1)[output]), gradients[self._start]


def _step(node: Any, sources: list[Any], known: set[str]) -> _Step:
    kind, name, shape = node.get_type_name(), node.get_friendly_name(), tuple(node.output(0).get_shape())
    inputs = tuple(each.get_friendly_name() for each in sources if each.get_friendly_name() in known)
    fixed = [_constant(each) for each in sources if each.get_friendly_name() not in known]
    attributes = node.get_attributes()
    if kind in ("Reshape", "Squeeze", "Convert"):
        return _Step(name, inputs, lambda given: given[0].reshape(shape), lambda change, given, value: [change])
    if kind == "Transpose" and len(fixed) == 1:
        order = tuple(fixed[0].tolist())
        back = tuple(np.argsort(order).tolist())
        return _Step(
            name, inputs, lambda given: given[0].transpose(order), lambda change, given, value: [change.transpose(back)]
        )
    if kind == "MatMul" and len(fixed) == 1 and not attributes["transpose_a"]:
        weights = fixed[0].T if attributes["transpose_b"] else fixed[0]
        return _Step(name, inputs, lambda given: given[0] @ weights, lambda change, given, value: [change @ weights.T])
    if kind == "Multiply" and len(fixed) == 1:
        return _Step(name, inputs, lambda given: given[0] * fixed[0], lambda change, given, value: [change * fixed[0]])
    if kind == "Add" and len(fixed) == 1:
        return _Step(name, inputs, lambda given: given[0] + fixed[0], lambda change, given, value: [change])
    if kind == "Relu":
        return _Step(
            name, inputs, lambda given: np.maximum(given[0], 0), lambda change, given, value: [change * (value > 0)]
        )
    if kind == "Concat" and not fixed:
        axis = int(attributes["axis"])
        return _Step(
            name,
            inputs,
            lambda given: np.concatenate(given, axis),
            lambda change, given, value: np.split(change, np.cumsum([each.shape[axis] for each in given])[:-1], axis),
        )
    raise EngineError(
        f"what the network looks at cannot be shown: {kind} follows the average over the picture, expected dense "
        "layers alone."
    )


def _constant(node: Any) -> Values:
    """Return the value of an operation on constants alone."""
    kind = node.get_type_name()
    sources = [each.get_source_output().get_node() for each in node.inputs()]
    if kind == "Constant":
        return np.asarray(node.data)
    if kind == "Convert":
        return np.asarray(_constant(sources[0]), np.float32)
    if kind == "Multiply":
        return _constant(sources[0]) * _constant(sources[1])
    if kind == "Transpose":
        return np.transpose(_constant(sources[0]), tuple(_constant(sources[1]).tolist()))
    raise EngineError(f"the weights of a dense layer are made by {kind}, expected constants.")
