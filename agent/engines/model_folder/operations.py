"""The operations that a model folder's graph may hold: their attributes, shapes and cost."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

import numpy as np

_MAX_STEP = 1024  # largest size, stride, dilation or padding of a window

Shape = tuple[int, ...]

FLOAT, UINT8, INT8, INT64, FLOAT16 = 1, 2, 3, 7, 10


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph: its shape, and its numbers if they are in the graph itself."""

    shape: Shape
    numbers: Any = None


@dataclass(frozen=True, slots=True)
class Node:
    """An operation with the known facts about its inputs."""

    attributes: dict[str, Any]
    inputs: list[Value]

    @property
    def shape(self) -> Shape:
        """The shape of the first input."""
        return self.inputs[0].shape

    def integers(self, name: str, default: int, count: int, low: int, high: int = _MAX_STEP) -> list[int]:
        """Return an attribute that consists of ``count`` whole numbers within these limits."""
        values: list[int] = self.attributes.get(name, [default] * count)
        if len(values) != count or not all(low <= value <= high for value in values):
            raise ValueError(f"{name} is {shortened(values)}, expected {count} numbers from {low} to {high}")
        return values


@dataclass(frozen=True, slots=True)
class Operation:
    """The rules for an operation.

    Attributes:
        inputs: The least and the largest number of inputs.
        attributes: Kinds of the attributes by name.
        infer: Computes the shape of its one output, or raises ValueError.
        products: Returns how many multiplications or comparisons each number of the output takes; called only after
            ``infer`` has succeeded.
    """

    inputs: tuple[int, int]
    attributes: Mapping[str, str]
    infer: Callable[[Node], Shape]
    products: Callable[[Node], int] = lambda node: 0


# --- the operations ---------------------------------------------------------------------------------------------------


def _same(node: Node) -> Shape:
    return node.shape


def _broadcast(node: Node) -> Shape:
    return tuple(np.broadcast_shapes(*(value.shape for value in node.inputs)))


def _cast(node: Node) -> Shape:
    if node.attributes.get("to") not in (FLOAT, FLOAT16):
        raise ValueError(f"it casts to type {node.attributes.get('to')}, expected a float")
    return node.shape


def _transpose(node: Node) -> Shape:
    permutation = node.attributes.get("perm", [])
    if sorted(permutation) != list(range(len(node.shape))):
        raise ValueError(f"perm is {shortened(permutation)} for the shape {node.shape}")
    return tuple(node.shape[axis] for axis in permutation)


def _window(node: Node, size: list[int]) -> tuple[int, ...]:
    """Return how often a window of that size fits into a picture, down and across."""
    strides, dilations = node.integers("strides", 1, 2, 1), node.integers("dilations", 1, 2, 1)
    pads = node.integers("pads", 0, 4, 0)
    mode = node.attributes.get("auto_pad", b"NOTSET")
    if mode not in (b"NOTSET", b"VALID", b"SAME_UPPER") or (mode != b"NOTSET" and any(pads)):
        raise ValueError(f"auto_pad is {shortened(mode)} with pads {pads}")
    fits = []
    for axis in (0, 1):
        length = node.shape[2 + axis]
        if mode == b"SAME_UPPER":
            fits.append(-(-length // strides[axis]))
        else:
            reach = dilations[axis] * (size[axis] - 1) + 1
            fits.append((length + pads[axis] + pads[2 + axis] - reach) // strides[axis] + 1)
    return tuple(fits)


def _convolve(node: Node) -> Shape:
    kernel = node.inputs[1].shape
    group = node.attributes.get("group", 1)
    bias = node.inputs[2].shape if len(node.inputs) == 3 else kernel[:1]
    if len(node.shape) != 4 or len(kernel) != 4 or bias != kernel[:1] or group < 1 or kernel[0] % group:
        raise ValueError(f"the kernel is {kernel}, its bias {bias}, in {group} groups, for {node.shape}")
    size = node.integers("kernel_shape", 0, 2, 1) if "kernel_shape" in node.attributes else list(kernel[2:])
    if size != list(kernel[2:]) or max(size) > _MAX_STEP or kernel[1] * group != node.shape[1]:
        raise ValueError(f"the kernel is {kernel}, called {size}, in {group} groups, for {node.shape}")
    return (node.shape[0], kernel[0], *_window(node, size))


def _products_of_convolution(node: Node) -> int:
    return math.prod(node.inputs[1].shape[1:])  # kernel: outputs, inputs of a group, height, width


def _window_of_pool(node: Node) -> int:
    return math.prod(node.integers("kernel_shape", 0, 2, 1))


def _products_of_matrix_product(node: Node) -> int:
    return node.shape[1]


def _normalise(node: Node) -> Shape:
    if len(node.shape) < 2 or any(value.shape != node.shape[1:2] for value in node.inputs[1:]):
        raise ValueError(f"its parameters are {[value.shape for value in node.inputs[1:]]} for {node.shape}")
    return node.shape


def _pool(node: Node) -> Shape:
    if len(node.shape) != 4 or node.attributes.get("ceil_mode", 0) or node.attributes.get("storage_order", 0):
        raise ValueError(f"the picture is {node.shape}, expected four axes, and neither ceil_mode nor storage_order")
    return (*node.shape[:2], *_window(node, node.integers("kernel_shape", 0, 2, 1)))


def _average_over_windows(node: Node) -> Shape:
    if any(node.attributes.get("pads", [])) or node.attributes.get("auto_pad", b"NOTSET") == b"SAME_UPPER":
        raise ValueError("it averages over windows that lie partly outside of the picture")
    if set(node.attributes.get("dilations", [1])) != {1}:
        raise ValueError("it averages over windows with gaps")
    return _pool(node)


def _pad(node: Node) -> Shape:
    amounts = node.inputs[1].numbers
    rank = len(node.shape)
    if amounts is None or amounts.dtype.kind not in "iu" or amounts.shape != (2 * rank,):
        raise ValueError("its amounts are not whole numbers of the graph's own, two for each axis")
    if amounts.min(initial=0) < 0 or amounts.max(initial=0) > _MAX_STEP:
        raise ValueError(f"its amounts are {shortened(amounts.tolist())}, expected 0 to {_MAX_STEP}")
    before, after = amounts[:rank].tolist(), amounts[rank:].tolist()
    return tuple(size + low + high for size, low, high in zip(node.shape, before, after, strict=True))


def _average(node: Node) -> Shape:
    return (*node.shape[:2], *(1 for _ in node.shape[2:]))


def _flatten(node: Node) -> Shape:
    if node.attributes.get("axis", 1) != 1 or len(node.shape) < 1:
        raise ValueError(f"axis is {node.attributes.get('axis')} for {node.shape}, expected 1")
    return (node.shape[0], math.prod(node.shape[1:]))


def _multiply(node: Node) -> Shape:
    transposed = node.attributes.get("transA", 0), node.attributes.get("transB", 0)
    left, right = (value.shape for value in node.inputs[:2])
    if transposed[1] == 1:
        right = right[::-1]
    if transposed[0] or transposed[1] not in (0, 1) or len(left) != 2 or len(right) != 2 or left[1] != right[0]:
        raise ValueError(f"it multiplies {left} by {right}")
    product = (left[0], right[1])
    if len(node.inputs) == 3 and np.broadcast_shapes(node.inputs[2].shape, product) != product:
        raise ValueError(f"it adds {node.inputs[2].shape} to {product}")
    return product


def _concatenate(node: Node) -> Shape:
    axis = node.attributes.get("axis", -1)
    shapes = [value.shape for value in node.inputs]
    rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes if 0 <= axis < len(shape)}
    if len(rests) != 1 or not all(len(shape) == len(node.shape) > axis for shape in shapes):
        raise ValueError(f"it joins {shortened(shapes)} along the axis {axis}")
    return (*node.shape[:axis], sum(shape[axis] for shape in shapes), *node.shape[axis + 1 :])


def _rescale(node: Node) -> Shape:
    """Quantise or dequantise: one scale, or one for each channel of the axis."""
    axis = node.attributes.get("axis", 1)
    for value in node.inputs[1:]:
        if math.prod(value.shape) != 1 and (
            not 0 <= axis < len(node.shape) or value.shape != node.shape[axis : axis + 1]
        ):
            raise ValueError(f"its scales are {value.shape} along the axis {axis} of {node.shape}")
    return node.shape


_WINDOW = {"auto_pad": "string", "kernel_shape": "ints", "strides": "ints", "dilations": "ints", "pads": "ints"}

# The operations that training.exporting.export and training.exporting.quantize write.
OPERATIONS: dict[str, Operation] = {
    "Add": Operation((2, 2), {}, _broadcast),
    "AveragePool": Operation(
        (1, 1), {**_WINDOW, "ceil_mode": "int", "count_include_pad": "int"}, _average_over_windows, _window_of_pool
    ),
    "BatchNormalization": Operation((5, 5), {"epsilon": "float", "momentum": "float"}, _normalise),
    "Cast": Operation((1, 1), {"to": "int"}, _cast),
    "Clip": Operation((3, 3), {}, _same),
    "Concat": Operation((1, 64), {"axis": "int"}, _concatenate),
    "Constant": Operation((0, 0), {"value": "tensor"}, _same),
    "Conv": Operation((2, 3), {**_WINDOW, "group": "int"}, _convolve, _products_of_convolution),
    "DequantizeLinear": Operation((2, 3), {"axis": "int"}, _rescale),
    "Flatten": Operation((1, 1), {"axis": "int"}, _flatten),
    "Gemm": Operation(
        (2, 3),
        {"alpha": "float", "beta": "float", "transA": "int", "transB": "int"},
        _multiply,
        _products_of_matrix_product,
    ),
    "GlobalAveragePool": Operation((1, 1), {}, _average),
    "MaxPool": Operation((1, 1), {**_WINDOW, "ceil_mode": "int", "storage_order": "int"}, _pool, _window_of_pool),
    "Mul": Operation((2, 2), {}, _broadcast),
    "Pad": Operation((2, 2), {"mode": "string"}, _pad),
    "QuantizeLinear": Operation((2, 3), {"axis": "int"}, _rescale),
    "Relu": Operation((1, 1), {}, _same),
    "Transpose": Operation((1, 1), {"perm": "ints"}, _transpose),
}
COMPARING = {"MaxPool"}
"""Operations that compare instead of multiplying."""
