"""spec.json: what is written is read back, and whatever is wrong is refused in one line that names the file."""

import hashlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.errors import SpecError, WeightsError
from agent.contract.profile import Rectangle
from agent.contract.spec import SPEC_FILE, STEERING_THROTTLE_BRAKE, ModelSpec, OutputSpec, Stack, outputs_named

SPEC = ModelSpec(
    name="tiny",
    backbone="pilotnet",
    game="carracing",
    width_px=96,
    height_px=54,
    rate_hz=20,
    outputs=(*STEERING_THROTTLE_BRAKE, OutputSpec("speed", -3.5, 90.25)),
    masks=(Rectangle(0.0, 0.875, 0.1125, 0.125), Rectangle(1 / 3, 0.1, 0.2, 0.7)),
    sha256={"weights.safetensors": "0" * 64},
)

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
FILE_NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True)
CHECKSUMS = st.binary(min_size=32, max_size=32).map(bytes.hex)
FRACTIONS = st.floats(0, 0.5)
RECTANGLES = st.builds(Rectangle, FRACTIONS, FRACTIONS, st.floats(0.01, 0.5), st.floats(0.01, 0.5))
OUTPUTS = st.builds(OutputSpec, NAMES, st.floats(-9, 0), st.floats(0.1, 9))
SPECS = st.builds(
    ModelSpec,
    name=NAMES,
    backbone=NAMES,
    game=NAMES,
    width_px=st.integers(1, 8192),
    height_px=st.integers(1, 8192),
    rate_hz=st.floats(1, 1000),
    outputs=st.lists(OUTPUTS, min_size=1, max_size=4, unique_by=lambda output: output.name).map(tuple),
    masks=st.lists(RECTANGLES, max_size=3).map(tuple),
    sha256=st.dictionaries(FILE_NAMES, CHECKSUMS, max_size=2),
)

PROBE = dict.fromkeys(SPEC.output_names, 0.5)
A_MASK = {"left": 0.1, "top": 0.1, "width": 0.1, "height": 0.1}
AN_OUTPUT = {"name": "steering", "low": -1.0, "high": 1.0}


def write(folder: Path, **changes: Any) -> Path:
    """Write spec.json of ``SPEC`` with some values replaced, unchecked."""
    path = folder / SPEC_FILE
    path.write_text(json.dumps({**json.loads(SPEC.to_json()), **changes}), encoding="utf-8")
    return path


def complaint(folder: Path) -> str:
    """Load the spec, which must be refused in one line that names the file."""
    with pytest.raises(SpecError) as raised:
        ModelSpec.load(folder)
    message = str(raised.value)
    assert str(folder / SPEC_FILE) in message
    assert len(message.splitlines()) == 1
    return message


@settings(max_examples=50)
@given(SPECS)
def test_a_spec_survives_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_a_spec_survives_the_file(tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).write_text(SPEC.to_json(), encoding="utf-8")
    assert ModelSpec.load(tmp_path) == SPEC
    assert SPEC.output_names == ("steering", "throttle", "brake", "speed")


def test_a_spec_from_before_there_were_int8_weights_has_none(tmp_path: Path) -> None:
    raw = json.loads(SPEC.to_json())
    del raw["quantization"]
    (tmp_path / SPEC_FILE).write_text(json.dumps(raw), encoding="utf-8")
    assert ModelSpec.load(tmp_path) == SPEC


@pytest.mark.parametrize("key", sorted(json.loads(SPEC.to_json()).keys() - {"quantization"}), ids="no_{}".format)
def test_a_missing_key_is_named_whether_or_not_it_has_a_default(key: str, tmp_path: Path) -> None:
    raw = json.loads(SPEC.to_json())
    del raw[key]
    (tmp_path / SPEC_FILE).write_text(json.dumps(raw), encoding="utf-8")
    assert f"misses the keys ['{key}']" in complaint(tmp_path)


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    write(tmp_path, momentum=0.9)
    assert "unknown keys ['momentum']" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            (key, value)
            for key in ("name", "backbone", "game")
            for value in ("", 5, None, ["a"], "a\nb", "\x1b[2J", "\ud800")
        ),
        *((key, value) for key in ("width_px", "height_px") for value in ("480", True, 0, -1, 8193, 480.0, None, [])),
        *(("rate_hz", value) for value in ("25", True, 0, -25, 0.05, 0.999, 1001, 10**400, math.nan, math.inf, None)),
        *(("outputs", value) for value in ([], {}, "steering", None, 3, [AN_OUTPUT] * 65)),
        *(("masks", value) for value in ({}, "all", None, 0, [A_MASK] * 65)),
        *(("preprocessing", value) for value in ("halve-area-then-linear/2", None, 1)),
        *(("sha256", value) for value in ([], "0" * 64, None, {"weights.safetensors": 5})),
    ],
)
def test_a_value_of_the_wrong_type_or_out_of_range_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    write(tmp_path, **{key: value})
    assert key in complaint(tmp_path)


def test_another_preprocessing_is_refused_by_both_names(tmp_path: Path) -> None:
    write(tmp_path, preprocessing="nearest/0")
    message = complaint(tmp_path)
    assert "'nearest/0'" in message
    assert repr(SPEC.preprocessing) in message


@pytest.mark.parametrize(
    "output",
    [
        {**AN_OUTPUT, "name": ""},
        {**AN_OUTPUT, "name": 5},
        {**AN_OUTPUT, "name": ["steering"]},
        {**AN_OUTPUT, "low": 1.0},
        {**AN_OUTPUT, "low": math.nan},
        {**AN_OUTPUT, "high": math.inf},
        {**AN_OUTPUT, "high": "1"},
        {**AN_OUTPUT, "high": 10**400},
        {**AN_OUTPUT, "unit": "rad"},
        {"name": "steering"},
        "steering",
        None,
    ],
)
def test_an_unusable_output_is_refused(output: Any, tmp_path: Path) -> None:
    write(tmp_path, outputs=[output])
    assert "output" in complaint(tmp_path)


def test_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, outputs=[AN_OUTPUT, {**AN_OUTPUT, "low": 0.0}])
    assert "names one output twice" in complaint(tmp_path)


@pytest.mark.parametrize(
    "mask",
    [
        {**A_MASK, "width": 0.95},
        {**A_MASK, "left": -0.1},
        {**A_MASK, "height": 0},
        {**A_MASK, "top": math.nan},
        {**A_MASK, "top": 10**400},
        {**A_MASK, "left": "0.1"},
        {**A_MASK, "colour": "black"},
        {"left": 0.1, "top": 0.1},
        [0.1, 0.1, 0.1, 0.1],
        None,
    ],
)
def test_an_unusable_mask_is_refused_by_its_number(mask: Any, tmp_path: Path) -> None:
    write(tmp_path, masks=[A_MASK, mask])
    assert "masks[1]" in complaint(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"not json",
        SPEC.to_json().encode()[:-20],
        b"[" * 60_000,
        b'{"width_px": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\x00",
        b"\x00\x01",
        b"[]",
        b"null",
        b'"spec"',
    ],
    ids=["empty", "open", "words", "truncated", "deep", "digits", "utf-16", "binary", "list", "null", "string"],
)
def test_a_file_that_is_no_spec_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).write_bytes(content)
    complaint(tmp_path)


def test_a_missing_file_is_refused_and_says_what_to_pass(tmp_path: Path) -> None:
    assert "--weights" in complaint(tmp_path / "nowhere")


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).mkdir()
    complaint(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../weights.safetensors",
        "a/b",
        "a\\b",
        "C:weights",
        "..",
        ".hidden",
        "",
        "a\0b",
        "w\n",
        "a" * 101,
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, sha256={name: "0" * 64})
    assert "expected 64 hexadecimal digits for the plain name of a file" in complaint(tmp_path)


@pytest.mark.parametrize("checksum", ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 64 + "\n", 0])
def test_a_checksum_is_64_hexadecimal_digits(checksum: Any, tmp_path: Path) -> None:
    write(tmp_path, sha256={"weights.safetensors": checksum})
    assert "sha256 has" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("pictures", value) for value in (0, -1, True, 1.5, "192", None, [])),
        *(("probe", value) for value in ({}, [], None, {**PROBE, "steering": 10**400}, {**PROBE, "steering": True})),
        *(("driving", value) for value in ([], "good", {"low": "0"}, {"low": math.nan}, {"low": 10**400})),
    ],
)
def test_what_is_said_of_int8_weights_is_checked(key: str, value: Any, tmp_path: Path) -> None:
    numbers = dict.fromkeys(("mean_deviation", "max_deviation", "probe"), PROBE)
    write(tmp_path, quantization={**numbers, "pictures": 8, "driving": None, key: value})
    assert f"quantization.{key}" in complaint(tmp_path)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).write_text(SPEC.to_json().replace('"name": "tiny"', '"name": "a", "name": "b"'))
    assert "keys, of which 1 repeat another" in complaint(tmp_path)


@pytest.mark.parametrize("depth", [3, 900])
def test_nested_values_are_refused_whatever_the_key(depth: int, tmp_path: Path) -> None:
    nested: Any = []
    for _ in range(depth):
        nested = [nested]
    write(tmp_path, sha256=nested)
    assert "nested more than 4 deep" in complaint(tmp_path)


@pytest.mark.parametrize("key", ["sha256", "rate_hz", "name", "outputs", "masks", "x" * 50_000])
def test_a_message_stays_short_whatever_is_in_the_file(key: str, tmp_path: Path) -> None:
    write(tmp_path, **{key: {"a" * 30_000: "b" * 20_000}})
    assert len(complaint(tmp_path)) < 1000 + len(str(tmp_path))


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / SPEC_FILE).open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk, but would in memory
    assert "1099511627776 bytes, more than the 64000 that are read" in complaint(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_file_that_never_ends_is_not_read(tmp_path: Path, files: Path) -> None:
    (tmp_path / SPEC_FILE).symlink_to("/dev/zero")
    assert "not a plain file" in complaint(tmp_path)
    (tmp_path / SPEC_FILE).unlink()
    os.mkfifo(tmp_path / SPEC_FILE)
    assert "not a plain file" in complaint(tmp_path)
    spec = with_sums(files)
    (files / "one.bin").unlink()
    os.mkfifo(files / "one.bin")
    with pytest.raises(WeightsError, match="not a plain file"):
        spec.verify_files(files, "one.bin")


def test_a_large_model_file_is_refused_before_it_is_read(files: Path) -> None:
    spec = with_sums(files)
    with (files / "one.bin").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(WeightsError, match="more than the 1000000000 that are read"):
        spec.verify_files(files, "one.bin")


def test_a_link_out_of_the_folder_is_refused(files: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = with_sums(files)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "one.bin"
    (files / "one.bin").rename(elsewhere)
    (files / "one.bin").symlink_to(elsewhere)
    with pytest.raises(WeightsError, match="expected a file in the model's own folder"):
        spec.verify_files(files, "one.bin")


def test_the_folder_itself_may_be_a_link(files: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "model"
    link.symlink_to(files, target_is_directory=True)
    with_sums(files).verify_files(link, "one.bin", "two.bin")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the two files that ``with_sums`` lists."""
    (tmp_path / "one.bin").write_bytes(b"weights" * 100)
    (tmp_path / "two.bin").write_bytes(b"graph" * 100)
    return tmp_path


def with_sums(folder: Path) -> ModelSpec:
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("one.bin", "two.bin")}
    return replace(SPEC, sha256=sums)


def test_intact_files_pass(files: Path) -> None:
    with_sums(files).verify_files(files, "one.bin", "two.bin")


@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "truncated", "changed", "longer", "swapped"])
def test_a_damaged_file_is_refused_by_name(damage: str, files: Path) -> None:
    spec = with_sums(files)
    path = files / "two.bin"
    content = path.read_bytes()
    if damage in ("missing", "folder"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "truncated": content[:-1],
                "changed": content[:-1] + b"H",
                "longer": content + b"\n",
                "swapped": (files / "one.bin").read_bytes(),
            }[damage]
        )
    spec.verify_files(files, "one.bin")
    with pytest.raises(WeightsError) as raised:
        spec.verify_files(files, "one.bin", "two.bin")
    message = str(raised.value)
    assert str(path) in message
    assert "one.bin" not in message
    assert len(message.splitlines()) == 1


def test_a_file_without_a_checksum_is_refused_even_though_it_is_there(files: Path) -> None:
    spec = with_sums(files)
    (files / "three.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"no checksum for three\.bin"):
        spec.verify_files(files, "three.bin")


def test_outputs_have_the_ranges_of_the_table() -> None:
    assert outputs_named(["pedal", "steering", "handbrake"]) == (
        OutputSpec("pedal", -1.0, 1.0),
        OutputSpec("steering", -1.0, 1.0),
        OutputSpec("handbrake", 0.0, 1.0),
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there are no outputs"),
        (["steering", "clutch"], "there is no axis 'clutch', expected steering, throttle, brake"),
        (["pedal", "brake"], "two outputs move the brake"),
        (["steering", "steering"], "two outputs move the steering"),
    ],
)
def test_outputs_that_are_no_controls_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        outputs_named(names)


@pytest.mark.parametrize("names", [["steering", "throttle", "brake"], ["steering"], ["pedal", "steering"]])
def test_a_network_of_any_standard_outputs_drives_any_game(names: list[str]) -> None:
    ModelSpec("a", "b", "c", outputs=outputs_named(names)).check_can_drive(["steering", "throttle"])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (outputs_named(["steering", "handbrake"]), "the game has no handbrake, expected its place.*under \\[pad\\]"),
        ((OutputSpec("steering", -2.0, 1.0),), "predict steering in other ranges than"),
        ((OutputSpec("gear", 0.0, 5.0),), "predict gear: there is no axis 'gear'.*Pass a model that drives with --wei"),
    ],
)
def test_a_network_that_says_what_the_game_cannot_do_is_refused(outputs: tuple[OutputSpec, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelSpec("a", "b", "c", outputs=outputs).check_can_drive(["steering", "throttle", "brake"])


def test_a_network_drives_a_game_that_has_its_further_axis() -> None:
    spec = ModelSpec("a", "b", "c", outputs=outputs_named(["steering", "handbrake"]))
    spec.check_can_drive(["steering", "throttle", "brake", "handbrake"])


def test_a_spec_of_versions_without_stacks_opens_and_is_written_as_before() -> None:
    text = SPEC.to_json()
    assert "stack" not in json.loads(text)
    assert ModelSpec.from_json(text) == SPEC
    assert SPEC.observation_shape == (SPEC.height_px, SPEC.width_px, 3)


@pytest.mark.parametrize("region", ["", "0,30,1280,690", "-5,0,10,10"])
def test_a_region_survives_json(region: str) -> None:
    spec = replace(SPEC, region=region)
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert "region" not in json.loads(SPEC.to_json())


@pytest.mark.parametrize(
    "region", ["all", "1,2,3", "1,2,3,4,5", 3, ["1"], "1,2,3,4\n", "99999999999,0,1,1", "\u0664,0,1,1"]
)
def test_a_faulty_region_is_refused(region: Any) -> None:
    with pytest.raises(SpecError, match=r"region is .*, expected left,top,width,height or an empty text"):
        ModelSpec.from_json(json.dumps(json.loads(SPEC.to_json()) | {"region": region}))


def test_a_stack_survives_json() -> None:
    spec = replace(SPEC, stack=Stack(4, 3))
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.observation_shape == (SPEC.height_px, SPEC.width_px, 12)


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ({"pictures": 1, "every_ticks": 1}, "stack.pictures is 1, expected a whole number from 2 to 16"),
        ({"pictures": 17, "every_ticks": 1}, "stack.pictures is 17"),
        ({"pictures": 2.0, "every_ticks": 1}, "stack.pictures is 2.0"),
        ({"pictures": True, "every_ticks": 1}, "stack.pictures is True"),
        ({"pictures": 2, "every_ticks": 0}, "stack.every_ticks is 0, expected a whole number from 1 to 1000"),
        ({"pictures": 2}, "stack misses the keys"),
        ([2, 1], "stack is of type list"),
    ],
)
def test_an_impossible_stack_is_refused(stack: object, message: str) -> None:
    raw = json.loads(SPEC.to_json()) | {"stack": stack}
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_json(json.dumps(raw))
