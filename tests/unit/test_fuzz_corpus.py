"""What fuzzing began with and found is parsed again: an answer or one documented line, in bounded time and memory."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
CORPUS = FUZZ / "corpus"
sys.path.append(str(FUZZ))

from fuzz_mutations import MUTATIONS  # noqa: E402
from fuzz_targets import TARGETS, Failure, Target, Watch  # noqa: E402

if sys.platform == "win32":
    pytest.skip("memory is read as Unix tells it", allow_module_level=True)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_parsed_within_bounds(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    watch = Watch(replace(target, most_s=20 * target.most_s), tmp_path)  # this machine may be slow and busy
    files = sorted((CORPUS / TARGETS[name].corpus).iterdir())
    for path in files:
        watch(path.read_bytes())
    assert watch.runs == len(files) >= 3
    assert 0 < watch.accepted < watch.runs


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_change_sound_files_and_are_repeatable(name: str) -> None:
    from random import Random

    for path in sorted((CORPUS / TARGETS[name].corpus).iterdir()):
        data = path.read_bytes()
        changed = {MUTATIONS[name](data, Random(seed)) for seed in range(5)}
        assert changed == {MUTATIONS[name](data, Random(seed)) for seed in range(5)}
        assert changed != {data}


def _target(parse: object) -> Target:
    return Target("made", lambda: (parse, (ValueError,)), (), 100, 1.0 if parse is _take_long else 60.0, 50, "made")  # type: ignore[arg-type,return-value]


def _write_outside(data: bytes, folder: Path) -> None:
    (folder.parent / "outside").write_bytes(data)


def _grow(data: bytes, folder: Path) -> None:
    del folder
    if data == b"big":
        bytearray(b"\1" * 200_000_000)


def _take_long(data: bytes, folder: Path) -> None:
    del folder
    began_s = time.process_time()
    while data == b"big" and time.process_time() - began_s < 1.1:  # however fast this machine is
        pass


def _steer_a_terminal(data: bytes, folder: Path) -> None:
    raise ValueError("\x1b[2J")


def _raise_another(data: bytes, folder: Path) -> None:
    raise KeyError("undocumented")


@pytest.mark.parametrize(
    ("parse", "error", "message"),
    [
        (_write_outside, Failure, "outside the folder"),
        (_grow, Failure, "memory grew"),
        (_take_long, Failure, "expected 1 s at most"),
        (_steer_a_terminal, Failure, "not one short printable line"),
        (_raise_another, KeyError, "undocumented"),
    ],
)
def test_the_watch_notices_what_a_parser_may_not_do(
    parse: object, error: type[Exception], message: str, tmp_path: Path
) -> None:
    watch = Watch(_target(parse), tmp_path)

    def parse_both() -> None:
        for data in (b"small", b"big"):
            watch(data)

    with pytest.raises(error, match=message):
        parse_both()


def test_an_episode_without_a_row_is_mutated_like_any_other() -> None:
    """It once ended a run of the fuzzer: there is no first row to repeat."""
    from random import Random

    from fuzz_mutations import as_parquet
    from pyarrow import parquet

    data = as_parquet(parquet.read_table(CORPUS / "episode" / "one").slice(0, 0))
    for seed in range(300):
        MUTATIONS["episode"](data, Random(seed))
