"""A graph is refused for anything but known operations on one picture, with a message that says what was found."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_model
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from agent.contract.errors import WeightsError
from agent.contract.spec import GRAPH_FILE, INT8_GRAPH_FILE, INT8_WEIGHTS_FILE, WEIGHTS_FILE
from agent.engines.model_folder.graph import MAX_GRAPH_BYTES, MAX_PRODUCTS, Graph, read_graph
from agent.engines.model_folder.opening import open_model_folder

SHIPPED = Path(__file__).parents[2] / "model_weights" / "carracing"
TENSORS = small_model.make_tensors()
OFFSETS = {name: 1000 * number for number, name in enumerate(TENSORS)}
GOOD = small_model.make_graph(OFFSETS, TENSORS)


def read(tmp_path: Path, model: ModelProto | bytes) -> Graph:
    path = tmp_path / "network.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return read_graph(path, path.read_bytes(), WEIGHTS_FILE)


def refusal(tmp_path: Path, model: ModelProto | bytes) -> str:
    with pytest.raises(WeightsError) as raised:
        read(tmp_path, model)
    said = str(raised.value).replace(str(tmp_path), "")
    assert said.startswith("/network.onnx is not an ONNX graph of this project: ")
    assert said.endswith("Write the graph anew from its weights with `python -m training export`.")
    assert said.isprintable()
    assert len(said) < 1000
    return said


def node(model: ModelProto, kind: str, index: int = 0) -> onnx.NodeProto:
    return [each for each in model.graph.node if each.op_type == kind][index]


def attribute(of: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(each for each in of.attribute if each.name == name)


def test_a_graph_with_every_operation_is_accepted(tmp_path: Path) -> None:
    graph = read(tmp_path, GOOD)
    assert (graph.input_shape, graph.output_shape) == ((1, 8, 12, 3), (1, 3))
    assert graph.weights.keys() == TENSORS.keys()
    kernel = graph.weights["kernel"]
    assert (kernel.dtype, kernel.shape, kernel.offset, kernel.length) == (np.float16, (4, 3, 3, 3), 0, 216)


def test_the_shipped_graphs_are_accepted() -> None:
    for graph, weights in ((GRAPH_FILE, WEIGHTS_FILE), (INT8_GRAPH_FILE, INT8_WEIGHTS_FILE)):
        found = read_graph(SHIPPED / graph, (SHIPPED / graph).read_bytes(), weights)
        assert (found.input_shape, found.output_shape) == ((1, 270, 480, 3), (1, 3))
        assert len(found.weights) > 200


def test_every_shape_worked_out_is_the_one_that_onnx_works_out(tmp_path: Path) -> None:
    inferred = {value.name: value for value in shape_inference.infer_shapes(GOOD).graph.value_info}
    assert len(inferred) > 25
    for count, last in enumerate(GOOD.graph.node[:-1], 1):
        cut = copy.deepcopy(GOOD)
        del cut.graph.node[count:]
        shape = [axis.dim_value for axis in inferred[last.output[0]].type.tensor_type.shape.dim]
        cut.graph.output[0].CopyFrom(helper.make_tensor_value_info(last.output[0], TensorProto.FLOAT, shape))
        assert read(tmp_path, cut).output_shape == tuple(shape), last.output[0]
        cut.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1)
        assert "and declared as" in refusal(tmp_path, cut)


# --- where weights come from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd", "../weights.safetensors", "./weights.safetensors", "weights.bin", "", "C:\\weights.safetensors",
        "sub/weights.safetensors", "weights.safetensors\0", "\u001b[2J", "x" * 5000,
    ],
)  # fmt: skip
def test_weights_from_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    model = copy.deepcopy(GOOD)
    model.graph.initializer.append(small_model.external("more", TENSORS["bias"], 0, location))
    assert "it takes weights from " in refusal(tmp_path, model)


def test_weights_from_elsewhere_in_a_constant_are_refused(tmp_path: Path) -> None:
    model = copy.deepcopy(GOOD)
    value = small_model.external("more", TENSORS["bias"], 0)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["more"], value=value))
    assert "a constant has its data elsewhere" in refusal(tmp_path, model)


def test_a_location_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    model = copy.deepcopy(GOOD)
    model.graph.initializer[-1].external_data.add(key="location", value="/etc/passwd")
    assert "weights are described by " in refusal(tmp_path, model)


def test_a_second_value_in_one_entry_does_not_slip_through(tmp_path: Path) -> None:
    # Protobuf lets the last of a repeated field win: location = weights.safetensors, then = /etc/passwd.
    entry = GOOD.graph.initializer[-1].external_data[0].SerializeToString() + b"\x12\x0b/etc/passwd"
    tensor = TensorProto()
    tensor.MergeFromString(b"\x6a" + bytes([len(entry)]) + entry)
    assert tensor.external_data[0].value == "/etc/passwd"
    model = copy.deepcopy(GOOD)
    model.graph.initializer[-1].external_data[0].CopyFrom(tensor.external_data[0])
    assert "it takes weights from '/etc/passwd'" in refusal(tmp_path, model)


def test_two_graphs_in_one_file_are_refused(tmp_path: Path) -> None:
    # Protobuf merges them: what the second adds is in the graph that a runtime runs.
    other = ModelProto()
    other.graph.initializer.append(small_model.external("more", TENSORS["bias"], 0, "/etc/passwd"))
    assert "graph is there 2 times" in refusal(tmp_path, GOOD.SerializeToString() + other.SerializeToString())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("length", "1", "have 1 bytes elsewhere"),
        ("length", "-2", "is not a number of bytes"),
        ("offset", "1e3", "is not a number of bytes"),
        ("offset", "9" * 5000, "is not a number of bytes"),
        ("checksum", "0", "weights are described by "),
    ],
)
def test_a_place_in_the_file_is_two_plain_numbers(tmp_path: Path, key: str, value: str, message: str) -> None:
    model = copy.deepcopy(GOOD)
    entries = model.graph.initializer[-1].external_data
    next((entry for entry in entries if entry.key == key), entries[-1]).key = key
    next(entry for entry in entries if entry.key == key).value = value
    assert message in refusal(tmp_path, model)


# --- what is in the graph ---------------------------------------------------------------------------------------------


Change = Callable[[ModelProto], object]
Find = Callable[[ModelProto], object]


def op(kind: str, index: int = 0) -> Find:
    return lambda model: node(model, kind, index)


def of(kind: str, name: str, index: int = 0) -> Find:
    return lambda model: attribute(node(model, kind, index), name)


def put(find: Find, field: str, value: object) -> Change:
    return lambda model: setattr(find(model), field, value)


def add(find: Find, field: str, *values: object, **fields: object) -> Change:
    """Append to a repeated field: messages with these fields, or values."""

    def change(model: ModelProto) -> None:
        repeated = getattr(find(model), field)
        repeated.extend(values) if values else repeated.add(**fields)

    return change


def swap(find: Find, field: str, values: list[object]) -> Change:
    return lambda model: getattr(find(model), field).__setitem__(slice(None), values)


def drop(kind: str) -> Change:
    return lambda model: model.graph.node.remove(node(model, kind))


def graph(model: ModelProto) -> object:
    return model.graph


def picture(model: ModelProto) -> object:
    return model.graph.input[0].type.tensor_type


def controls(model: ModelProto) -> object:
    return model.graph.output[0].type.tensor_type


def constant(model: ModelProto) -> object:
    return model.graph.initializer[0]


BRANCH = helper.make_graph([], "branch", [], [])
IF = helper.make_node("If", ["steering"], ["more"], then_branch=BRANCH, else_branch=BRANCH)
INFINITE = np.float32(np.inf).tobytes()

FAULTS: dict[str, tuple[Change, str]] = {
    "custom": (put(op("Relu"), "domain", "com.example"), "operations of 'com.example'"),
    "microsoft": (put(op("Relu"), "domain", "com.microsoft"), "operations of 'com.microsoft'"),
    "opset": (add(lambda m: m, "opset_import", domain="com.example", version=1), "operations of 'com.example'"),
    "opsets": (add(lambda m: m, "opset_import", version=17), "it wants 2 sets of operations"),
    "no opset": (lambda m: m.ClearField("opset_import"), "it wants 0 sets of operations"),
    "opset of the future": (put(lambda m: m.opset_import[0], "version", 2**63 - 1), "its opset is 9223372036854775807"),
    "opset below all": (put(lambda m: m.opset_import[0], "version", -1), "its opset is 18446744073709551615, expected"),
    "format of the future": (put(lambda m: m, "ir_version", 2**40), "its ir_version is 1099511627776"),
    "operation": (put(op("Relu"), "op_type", "PyOp"), "it has the operation 'PyOp'"),
    "if": (add(graph, "node", IF), "it has the operation 'If'"),
    "function": (add(lambda m: m, "functions", name="Relu"), "a field of number 25"),
    "training": (add(lambda m: m, "training_info"), "a field of number 20"),
    "sparse": (add(graph, "sparse_initializer"), "a field of number 15"),
    "quantised": (add(graph, "quantization_annotation"), "a field of number 14"),
    "attribute": (add(op("Relu"), "attribute", name="alpha", type=1), "the attribute 'alpha', expected none"),
    "graph attribute": (lambda m: attribute(node(m, "Flatten"), "axis").g.SetInParent(), "a field of number 6"),
    "two kinds": (put(of("Flatten", "axis"), "s", b"1"), "an attribute axis that is not of kind int"),
    "other kind": (put(of("Flatten", "axis"), "type", 1), "an attribute axis that is not of kind int"),
    "twice": (
        add(op("Flatten"), "attribute", name="axis", type=2, i=1),
        "attribute 'axis', expected axis, and each",
    ),
    "nan": (swap(constant, "float_data", [np.nan]), "numbers that are not finite"),
    "infinite": (lambda m: setattr(of("Constant", "value")(m).t, "raw_data", INFINITE), "numbers that are not finite"),
    "epsilon": (put(of("BatchNormalization", "epsilon"), "f", np.nan), "epsilon nan"),
    "input type": (put(picture, "elem_type", 1), "its input has numbers of type 1"),
    "output type": (put(controls, "elem_type", 11), "its output has numbers of type 11"),
    "inputs": (add(graph, "input", name="more"), "input is there 2 times"),
    "outputs": (add(graph, "output", name="more"), "output is there 2 times"),
    "no input": (lambda m: m.graph.ClearField("input"), "it has no input"),
    "no graph": (lambda m: m.ClearField("graph"), "it has no graph"),
    "open size": (lambda m: setattr(picture(m).shape.dim[0], "dim_param", "n"), "a field of number 2"),
    "output shape": (lambda m: setattr(controls(m).shape.dim[1], "dim_value", 4), "and declared as (1, 4)"),
    "input shape": (lambda m: setattr(picture(m).shape.dim[1], "dim_value", 2**40), "a value has the shape"),
    "no output": (drop("Concat"), "its output is no value"),
    "unknown value": (drop("Relu"), "expected 1 to 1 values known before it"),
    "same name": (swap(op("Relu"), "output", ["normal"]), "is there twice or has no name"),
    "two outputs": (add(op("Relu"), "output", "more"), "output is there 2 times"),
    "too many inputs": (add(op("Relu"), "input", "normal"), "Relu has the inputs"),
    "tensor type": (put(constant, "data_type", 8), "numbers of type 8"),
    "tensor size": (add(constant, "dims", 2), "a constant of shape (2,) has 1 numbers"),
    "raw size": (lambda m: setattr(m.graph.initializer[2], "raw_data", b"1"), "has 1 bytes"),
    "two data": (put(constant, "raw_data", bytes(4)), "two kinds of data"),
    "segment": (lambda m: constant(m).segment.SetInParent(), "a field of number 3"),
    "constant": (lambda m: node(m, "Constant").ClearField("attribute"), "a Constant has no value"),
    "stride": (swap(of("MaxPool", "strides"), "ints", [0, 1]), "strides is [0, 1], expected 2 numbers from 1 to 1024"),
    "window": (swap(of("MaxPool", "kernel_shape"), "ints", [100, 100]), "a value has the shape"),
    "huge window": (swap(of("MaxPool", "kernel_shape"), "ints", [2**40, 1]), "kernel_shape is [1099511627776, 1]"),
    "dilation": (swap(of("Conv", "dilations"), "ints", [1, -1]), "dilations is [1, -1]"),
    "permutation": (swap(of("Transpose", "perm"), "ints", [0, 1, 1, 3]), "perm is [0, 1, 1, 3]"),
    "kernel": (swap(of("Conv", "kernel_shape"), "ints", [3, 4]), "the kernel is (4, 3, 3, 3), called [3, 4]"),
    "rounding": (add(op("MaxPool"), "attribute", name="ceil_mode", type=2, i=1), "neither ceil_mode nor"),
    "cast": (put(of("Cast", "to"), "i", 8), "it casts to type 8"),
    "auto_pad": (put(of("Conv", "auto_pad"), "s", b"SAME_LOWER"), "auto_pad is b'SAME_LOWER'"),
    "flatten": (put(of("Flatten", "axis"), "i", -1), "axis is -1"),
    "concat": (put(of("Concat", "axis"), "i", 7), "along the axis 7"),
    "group": (put(of("Conv", "group", 1), "i", 0), "in 0 groups"),
    "gemm": (put(of("Gemm", "transB", 2), "i", 0), "it multiplies (1, 4) by (1, 4)"),
    "normal": (lambda m: op("BatchNormalization")(m).input.__setitem__(4, "bias32"), "its parameters are"),
    "scales": (put(of("DequantizeLinear", "axis", 1), "i", 2), "along the axis 2"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_anything_else_is_refused_and_named(tmp_path: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    model = copy.deepcopy(GOOD)
    change(model)
    assert message in refusal(tmp_path, model)


def test_padding_is_bounded_and_known(tmp_path: Path) -> None:
    amounts = attribute(node(GOOD, "Constant", 4), "value").t
    for number, message in ((2**40, "its amounts are"), (-1, "its amounts are"), (1024, "")):
        model = copy.deepcopy(GOOD)
        changed = numpy_helper.to_array(amounts).copy()
        changed[2] = number
        attribute(node(model, "Constant", 4), "value").t.raw_data = changed.tobytes()
        if message:
            assert message in refusal(tmp_path, model)
        else:
            read(tmp_path, model)
    model = copy.deepcopy(GOOD)
    node(model, "Pad").input[1] = "scale"
    assert "its amounts are not whole numbers of the graph's own" in refusal(tmp_path, model)


def test_a_value_that_doubles_at_every_step_is_refused(tmp_path: Path) -> None:
    model = copy.deepcopy(GOOD)
    value = "pixels"
    for step in range(40):
        doubled = f"doubled{step}"
        model.graph.node.append(helper.make_node("Concat", [value, value], [doubled], axis=1))
        value = doubled
    assert "a pass computes more than 500000000 numbers" in refusal(tmp_path, model)


def test_values_that_stretch_each_other_are_refused(tmp_path: Path) -> None:
    model = copy.deepcopy(GOOD)
    for number, shape in enumerate(([1, 100_000], [100_000, 1])):
        model.graph.initializer.append(small_model.external(f"long{number}", np.empty(shape, "f2"), 0))
    model.graph.node.append(helper.make_node("Add", ["long0", "long1"], ["square"]))
    assert "a pass computes more than 500000000 numbers" in refusal(tmp_path, model)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = small_model.write_model(tmp_path)
    with (folder / "network.onnx").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(WeightsError, match=f"more than the {MAX_GRAPH_BYTES} that are read"):
        open_model_folder(folder)
    with pytest.raises(WeightsError, match=f"it has {MAX_GRAPH_BYTES + 1} bytes, expected {MAX_GRAPH_BYTES} at most"):
        read_graph(folder / "network.onnx", bytes(MAX_GRAPH_BYTES + 1), WEIGHTS_FILE)


def convolutions(count: int, size: int) -> ModelProto:
    """A graph that goes on with so many large depthwise convolutions, each with the same kernel."""
    model = copy.deepcopy(GOOD)
    model.graph.initializer.append(small_model.external("large", np.empty((4, 1, size, size), "f2"), 0))
    before = "first"
    for number in range(count):
        after = f"large{number}"
        made = helper.make_node("Conv", [before, "large"], [after], group=4, auto_pad="SAME_UPPER")
        model.graph.node.append(made)
        before = after
    return model


def test_more_arithmetic_than_any_network_here_takes_is_refused(tmp_path: Path) -> None:
    # A file of 2 MB asked for 407 trillion multiply-adds a pass, in which only SIGKILL was heard.
    first = node(GOOD, "Conv").output[0]
    assert first == "first"
    each = read(tmp_path, convolutions(1, 1000)).multiply_adds - read(tmp_path, GOOD).multiply_adds
    most = MAX_PRODUCTS // each
    read(tmp_path, convolutions(most - 1, 1000))
    said = refusal(tmp_path, convolutions(most + 1, 1000))
    assert "a pass takes more than 240 billion multiplications or comparisons" in said


def test_comparisons_count_too(tmp_path: Path) -> None:
    model = copy.deepcopy(GOOD)
    for number in range(3000):
        window = {"kernel_shape": [1000, 1000], "strides": [1, 1], "auto_pad": "SAME_UPPER"}
        model.graph.node.append(helper.make_node("MaxPool", ["first"], [f"large{number}"], **window))
    assert "billion multiplications or comparisons" in refusal(tmp_path, model)


def test_the_multiply_adds_are_those_of_convolutions_and_matrix_products(tmp_path: Path) -> None:
    # By hand: 3 x 3 x 3 on 4 channels, 3 x 3 on 4, averages of 2, 4 x 4 pointwise, and three products of 4 numbers.
    inferred = {
        value.name: value.type.tensor_type.shape for value in shape_inference.infer_shapes(GOOD).graph.value_info
    }
    first, second, smooth, third = (
        math.prod(axis.dim_value for axis in inferred[name].dim) for name in ("first", "second", "smooth", "third")
    )
    expected = first * 27 + second * 9 + smooth * 2 + third * 4 + 12
    assert read(tmp_path, GOOD).multiply_adds == expected


def test_too_many_operations_are_refused(tmp_path: Path) -> None:
    model = copy.deepcopy(GOOD)
    for number in range(4096):
        model.graph.node.append(helper.make_node("Relu", ["steering"], [f"more{number}"]))
    assert "operations, expected 4096 at most" in refusal(tmp_path, model)


# --- bytes that are no graph ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has no graph"),
        (b"\x80\x04\x95", "a field of number"),  # how a pickle begins
        (b"PK\x03\x04", "a field of number"),  # how a Keras file begins
        (b"\x3b", "wire type 3"),  # a group
        (b"\x3a\xff\xff\xff\xff\x0f", "ends after the message"),
        (b"\x08" + b"\xff" * 10, "more than 10 bytes"),
        (b"\x08", "ends after the message"),
        (b"\x3a\x02\x0a\x05", "ends after the message"),
        (b"\x08\x08\x3a\x06\x12\x04\xff\xfe\xfd\xfc", "it has no input"),
    ],
)
def test_bytes_that_are_no_graph_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refusal(tmp_path, data)


@given(st.data())
def test_any_damage_is_refused_or_harmless_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(GOOD.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=4))
    try:
        read(tmp_path_factory.getbasetemp(), bytes(whole))
    except WeightsError as exc:
        assert str(exc).isprintable()  # noqa: PT017
