"""What a Parquet file's footer says of its columns' packing, and how footers that say nothing sound are refused."""

import io
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.episodes.footer import UNCOMPRESSED, codecs_of, read_footer
from agent.contract.episodes.reading import Episode
from agent.contract.errors import EpisodeError

HISTOGRAM = Path(__file__).parents[1] / "fuzz" / "corpus" / "episode" / "histogram"
TABLE = pa.table({"a": list(range(50)), "b": [{"c": "x" * number, "d": [1.0] * 3} for number in range(50)]})
CODECS = {"none": UNCOMPRESSED, "snappy": 1, "gzip": 2, "brotli": 4, "zstd": 6}  # parquet.thrift's CompressionCodec


def written(folder: Path, compression: str | dict[str, str]) -> Path:
    path = folder / "table.parquet"
    pq.write_table(TABLE, path, compression=compression, row_group_size=7)
    return path


def footer_of(path: Path) -> bytes:
    with io.FileIO(path) as file:
        return read_footer(file)


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_read(codec: str, tmp_path: Path) -> None:
    assert codecs_of(footer_of(written(tmp_path, codec))) == [[CODECS[codec]] * 3] * 8


def test_one_packed_column_among_others_is_seen(tmp_path: Path) -> None:
    packing = {"a": "none", "b.c": "zstd", "b.d.list.element": "none"}
    assert codecs_of(footer_of(written(tmp_path, packing))) == [[UNCOMPRESSED, CODECS["zstd"], UNCOMPRESSED]] * 8


def test_the_files_position_stays(tmp_path: Path) -> None:
    with io.FileIO(written(tmp_path, "none")) as file:
        file.seek(3)
        read_footer(file)
        assert file.tell() == 3


def test_a_column_that_says_nothing_is_told() -> None:
    # FileMetaData with one row group of one column that has but a file's name (field 1).
    chunk = bytes([0x18, 1, ord("x"), 0])
    group = bytes([0x19, 0x1C]) + chunk + bytes([0])
    assert codecs_of(bytes([0x49, 0x1C]) + group + bytes([0])) == [[None]]


ONE_COLUMN = (0x49, 0x1C, 0x19, 0x1C, 0x3C)  # FileMetaData.row_groups, RowGroup.columns, ColumnChunk.meta_data


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ((0x45, 0x0C), [[6]]),  # codec, i32: zstd
        ((0x46, 0x0C), [[None]]),  # as i64: Thrift skips it
        ((0x44, 0x00), [[None]]),  # as i16
    ],
)
def test_only_what_thrift_reads_counts(inside: tuple[int, ...], expected: list[list[int | None]]) -> None:
    assert codecs_of(bytes([*ONE_COLUMN, *inside, 0, 0, 0, 0])) == expected


@pytest.mark.parametrize(
    "inside",
    [
        (0x45, 0x0C, 0x06, 0x08, 0x00),  # codec zstd, then field 4 once more, as an i64
        (0x45, 0x0C, 0x05, 0x08, 0x00),  # and as an i32
        (0x05, 0x88, 0x80, 0x08, 0x00),  # field 65540, which is 4 in 16 bits
        (0x05, 0x01, 0x00),  # field -1
    ],
)
def test_fields_that_others_would_read_otherwise_are_refused(inside: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"field -?\d+ after field"):
        codecs_of(bytes([*ONE_COLUMN, *inside, 0, 0, 0, 0]))


def test_lists_of_a_fixed_width_are_skipped_at_once() -> None:
    many = 30_000_000  # one by one they take 12 s
    size = bytes([many >> shift & 127 | 128 for shift in (0, 7, 14)] + [many >> 21])
    started_s = time.process_time()
    assert codecs_of(bytes([0x19, 0xF1]) + size + bytes(many) + bytes([0])) == []
    assert time.process_time() - started_s < 3


def test_a_footer_that_ends_early_is_refused(tmp_path: Path) -> None:
    footer = footer_of(written(tmp_path, "none"))
    for size in range(0, len(footer), 17):
        with pytest.raises(ValueError, match=r"ends early|a list of"):
            codecs_of(footer[:size])


def test_a_length_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    path.write_bytes(b"PAR1" + (1000).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match="a footer of 1000 bytes in a file of 12, expected 64 MB at most"):
        footer_of(path)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_footer_are_answered_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(codecs_of(data), list)


def test_values_deep_in_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="deep in each other"):
        codecs_of(b"\x1c" * 5000)
    with pytest.raises(ValueError, match="deep in each other"):
        codecs_of(b"\x19" * 5000)


def test_a_description_that_contradicts_itself_ends_no_process(tmp_path: Path) -> None:
    """Its histogram is too long. pyarrow ended the process, by an exception of C++ that nothing caught."""
    path = tmp_path / "histogram.parquet"
    path.write_bytes(HISTOGRAM.read_bytes())
    with pytest.raises(EpisodeError, match="histogram size mismatch"):
        Episode.open(path)
