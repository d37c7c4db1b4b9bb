"""The contents of an episode's file: its columns, its header, and the checks for foreign and damaged files.

How a picture is compressed is in ``agent.contract.picture_codec``.
"""

import io
import json
import re
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agent.contract.controls import STANDARD_AXES, Controls
from agent.contract.errors import EpisodeError, ForeignEpisodeError
from agent.contract.observation import Frame
from agent.contract.untrusted import check_plain_file, is_finite, printable

SEALED_SUFFIX = ".parquet"
RECORDING_SUFFIX = ".recording"
SEALING_SUFFIX = ".sealing"
REPAIR = "Run `python -m agent episodes repair` on it"
FORMAT = "hoodcam-episode"
FORMAT_VERSION = 1
"""Version of an episode with only the standard axes; every version of this project reads it."""
FURTHER_AXES_VERSION = 2
"""Version of an episode with further axes; older versions of this project refuse it by this number."""

Floats = npt.NDArray[np.float32]
"""float32, shape (rows,), or (rows, axes)."""

MAX_NUMBERS = 100_000_000
"""The most numbers that are read from an episode, rows times columns: 55 hours at 25 rows a second with 20 columns."""
_LEAST_ROW_BYTES = 60
"""A row takes more than this in a file: the smallest picture alone has 67 bytes."""
_MAX_TEXT = 10_000
_MAX_TELEMETRY = 256
_METADATA_KEY = b"hoodcam"
_METADATA_CHECKSUM_KEY = b"hoodcam_crc32"
BATCH_CHECKSUM_KEY = b"crc32"
SECOND_NS = 1_000_000_000

_EXECUTED = "executed_"
_AXIS_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MAX_AXES = 32
FRAME_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_BEFORE_CONTROLS: dict[str, Any] = {"tick": pa.int32(), "captured_ns": pa.int64(), "frame": FRAME_TYPE}
_AFTER_CONTROLS: dict[str, Any] = {"speed": pa.float32(), "intervention": pa.bool_()}
_NULLABLE = {"speed", "telemetry"}
_RESERVED = {*_BEFORE_CONTROLS, *_AFTER_CONTROLS, *_NULLABLE}

# The errors that pyarrow raises on damaged bytes: ArrowInvalid is a ValueError; a page that fails its checksum gives an
# OSError; an absurd length in a damaged footer gives a MemoryError.
READ_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class EpisodeHeader:
    """What is true of a whole episode.

    Attributes:
        game: Name of the game's profile.
        driver: Where the labels come from, such as ``expert`` or ``policy:carracing``.
        rate_hz: Nominal rows a second.
        seed: Seed of the track, if the game has one.
        profile_notes: Notes on the game's settings for the reader.
        track: Name of the track, if the game's tracks have names.
        axes: The recorded axes: names from the table in ``agent.contract.controls``, the standard axes first. The
            column of an axis is read even if this version's table does not have the axis.
    """

    game: str
    driver: str
    rate_hz: float
    seed: int | None = None
    profile_notes: str = ""
    track: str = ""
    axes: tuple[str, ...] = STANDARD_AXES

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        for name in ("rate_hz", "seed"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        _check_axes(self.axes)
        if not (is_finite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"rate_hz is {_quoted(self.rate_hz)}, expected a positive number of rows a second")
        for name in ("game", "driver", "profile_notes", "track"):
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > _MAX_TEXT:
                raise ValueError(f"{name} is {_quoted(value)}, expected a text of at most {_MAX_TEXT} characters")
        if self.seed is not None and type(self.seed) is not int:
            raise ValueError(f"seed is {_quoted(self.seed)}, expected a whole number")


def _plain(value: Any) -> Any:
    """Return NumPy's number, of a Python caller, as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _check_axes(axes: Any) -> None:
    """Raise ValueError unless these names make columns."""
    if not isinstance(axes, (tuple, list)) or not all(isinstance(name, str) for name in axes):
        raise ValueError("its axes are not a list of names")
    if tuple(axes[: len(STANDARD_AXES)]) != STANDARD_AXES or not len(set(axes)) == len(axes) <= _MAX_AXES:
        raise ValueError(f"axes are {_shortened(axes)}, expected {', '.join(STANDARD_AXES)} and then others, each once")
    for name in axes:
        if not _AXIS_NAME.fullmatch(name) or name in _RESERVED or name.startswith(_EXECUTED):
            raise ValueError(
                f"an axis is named {_quoted(name)}, expected letters and digits, not another column's name"
            )


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One tick of an episode.

    Attributes:
        frame: The picture that the controls answer; recorded without its alpha channel.
        controls: The label: what the driver wanted.
        executed: The controls really sent, injected noise included.
        speed: In the game's own units of length per second; None if unknown.
        intervention: Whether a person or an expert had taken over.
        telemetry: Further numbers by name; every row of an episode has the same names.
    """

    frame: Frame
    controls: Controls
    executed: Controls
    speed: float | None = None
    intervention: bool = False
    telemetry: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A row with a compressed picture, made by :func:`encode_row`; it takes a hundredth of the memory."""

    tick: int
    captured_ns: int
    picture: bytes
    controls: Controls
    executed: Controls
    speed: float | None
    intervention: bool
    telemetry: dict[str, float]


def checksum_of(batch: Any) -> bytes:
    return str(zlib.crc32(batch.serialize())).encode()


def executed_columns(axes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns for the controls really sent; the labels' columns have the names of the axes."""
    return tuple(_EXECUTED + name for name in axes)


def _column_types(axes: Sequence[str], telemetry: list[str]) -> dict[str, Any]:
    controls = {name: pa.float32() for name in (*axes, *executed_columns(axes))}
    types = {**_BEFORE_CONTROLS, **controls, **_AFTER_CONTROLS}
    if telemetry:
        types["telemetry"] = pa.struct([(name, pa.float32()) for name in telemetry])
    return types


def _version_of(axes: Sequence[str]) -> int:
    return FORMAT_VERSION if tuple(axes) == STANDARD_AXES else FURTHER_AXES_VERSION


def arrow_schema(header: EpisodeHeader, telemetry: list[str]) -> Any:
    """Return the Arrow schema with our header and Hugging Face's feature declaration in its metadata."""
    types = _column_types(header.axes, telemetry)
    about = {
        "format": FORMAT,
        "version": _version_of(header.axes),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "header": asdict(header),
        "telemetry": telemetry,
    }
    text = json.dumps(about).encode()
    # The layout of ArrowWriter in ``datasets``; it accepts a feature only if its type equals the column's exactly.
    features = {name: _feature(kind) for name, kind in types.items() if name != "frame"} | {"frame": {"_type": "Image"}}
    metadata = {
        _METADATA_KEY: text,
        _METADATA_CHECKSUM_KEY: str(zlib.crc32(text)).encode(),
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
    }
    return pa.schema(list(types.items()), metadata=metadata)


def _feature(kind: Any) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": kind.to_pandas_dtype().__name__, "_type": "Value"}


def parse_metadata(path: Path, schema: Any) -> tuple[EpisodeHeader, str, list[str]]:
    """Return header, creation time and telemetry names; call :func:`check_schema` on the schema first."""
    try:
        about = json.loads(schema.metadata[_METADATA_KEY])
        # A later version may add fields to the header. The checksum shows that they are not damage.
        known = {
            entry.name: about["header"][entry.name] for entry in fields(EpisodeHeader) if entry.name in about["header"]
        }
        return EpisodeHeader(**known), about["created"], about["telemetry"]
    except (KeyError, TypeError, ValueError, RecursionError) as exc:
        raise damaged_episode(path, f"its header cannot be understood ({one_line(exc)})") from exc


def check_schema(path: Path, schema: Any) -> None:
    """Refuse foreign files, other versions of the format, and files whose description is damaged."""
    metadata = schema.metadata or {}
    text = metadata.get(_METADATA_KEY)
    if text is None:
        raise ForeignEpisodeError(
            f"{path} is not an episode: its columns are {_shortened(schema.names)} and it has no {FORMAT} header. "
            "Pass a file recorded by this project."
        )
    if metadata.get(_METADATA_CHECKSUM_KEY) != str(zlib.crc32(text)).encode():
        raise damaged_episode(path, "its header does not match its checksum")
    about = json.loads(text)
    if not isinstance(about, dict):
        raise damaged_episode(path, f"its header is {_quoted(about)}, no object")
    if about.get("format") != FORMAT or about.get("version") not in (FORMAT_VERSION, FURTHER_AXES_VERSION):
        raise ForeignEpisodeError(
            f"{path} has format {_quoted(about.get('format'))} version {_quoted(about.get('version'))}, this "
            f"program reads {FORMAT!r} version {FORMAT_VERSION} and {FURTHER_AXES_VERSION}. Use the version of this "
            "project that recorded it."
        )
    axes = dict(about["header"]).get("axes", STANDARD_AXES)  # older versions recorded these and stored no list
    _check_axes(axes)
    telemetry = about["telemetry"]
    are_names = isinstance(telemetry, list) and all(isinstance(name, str) for name in telemetry)
    if not are_names or not len(set(telemetry)) == len(telemetry) <= _MAX_TELEMETRY:
        raise damaged_episode(path, f"its telemetry is {_quoted(telemetry)}, expected names, each once")
    expected = _column_types(axes, telemetry)
    if len(schema.names) != len(expected) or dict(zip(schema.names, schema.types, strict=True)) != expected:
        raise damaged_episode(path, f"it has columns {_shortened(schema.names)}, expected {_shortened(expected)}")


def check_size(path: Path, rows: int, columns: int, file_bytes: int) -> None:
    """Refuse more numbers than any drive has, or than the file can hold, before memory is allocated.

    A column that repeats one value takes hardly any bytes: a file of 15 KB can claim 50 million rows.

    Raises:
        EpisodeError: If there are too many numbers.
    """
    if rows * columns > MAX_NUMBERS or rows * _LEAST_ROW_BYTES > file_bytes:
        found = f"it says it has {rows} rows of {columns} columns in {file_bytes} bytes, more than is read"
        raise damaged_episode(path, found)


def check_columns(path: Path, table: Any, rows: int) -> None:
    """Refuse a table that lacks rows or values, or has controls that are not finite; its columns match the schema."""
    table.validate(full=True)
    empty = [name for name in table.column_names if name not in _NULLABLE and table[name].null_count]
    if empty:
        raise damaged_episode(path, f"values are missing in {_shortened(empty)}")
    if not rows or table.num_rows != rows:
        raise damaged_episode(path, f"it has {table.num_rows} rows of {rows}")
    controls = [name for name in table.column_names if name not in _RESERVED]
    if not all(np.isfinite(table[name].to_numpy()).all() for name in controls):
        raise damaged_episode(path, "it holds controls that are not finite numbers")


def check_readable(path: Path) -> None:
    try:
        check_plain_file(path, sys.maxsize)  # opening a pipe waits for whoever writes into it, for ever
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as exc:
        raise ForeignEpisodeError(
            f"{path} cannot be read ({exc.strerror}), expected an episode ending in {SEALED_SUFFIX} or "
            f"{RECORDING_SUFFIX}. Check the path."
        ) from exc
    if empty:
        raise EpisodeError(f"{path} is empty (0 bytes): nothing can be recovered. Delete it.{_beside(path)}")


class ArrowFile(io.FileIO):
    """An open file for pyarrow, which cannot open names that are not UTF-8 (from an old disk or a zip).

    The file is closed when its last holder is gone.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")

    def __del__(self) -> None:
        self.close()


def is_sealed(path: Path) -> bool:
    """Return whether a file is an episode by its name; a disk or a camera's software may have made it upper case."""
    return path.suffix.lower() == SEALED_SUFFIX


def is_recording(path: Path) -> bool:
    """Return whether a file is a recording by its name, in upper case too."""
    return path.suffix.lower() == RECORDING_SUFFIX


def timed_path(folder: Path, game: str, seed: int | None = None, ending: str = "") -> Path:
    """Return where a recording that begins now goes: two drives on one track are two recordings.

    Args:
        folder: For the recordings.
        game: Name of the game's profile.
        seed: Of the track; None for a game in a window.
        ending: What the name ends with, if anything.
    """
    parts = [game, "" if seed is None else str(seed), time.strftime("%Y%m%d-%H%M%S"), ending]
    return unused_path(folder, "-".join(part for part in parts if part))


def unused_path(folder: Path, name: str) -> Path:
    """Return where an episode of this name goes; numbered where there is one, as after a clock was set back."""
    path, number = folder / f"{name}{SEALED_SUFFIX}", 2
    while path.exists() or path.with_suffix(RECORDING_SUFFIX).exists():
        path, number = folder / f"{name}-{number}{SEALED_SUFFIX}", number + 1
    return path


def refuse_existing(path: Path) -> None:
    if path.exists():
        raise EpisodeError(f"{path} exists, and a recording is never overwritten. Move it away or choose another name.")


def damaged_episode(path: Path, found: str) -> EpisodeError:
    return EpisodeError(
        f"{path} is damaged, cut short or no episode: {found}. Restore the file from where it came from, or keep what "
        f"can be read: `python -m agent episodes repair`.{_beside(path)}"
    )


def _beside(path: Path) -> str:
    """Point at the recording that a sealed file was made from, if it still exists."""
    recording = path.with_suffix(RECORDING_SUFFIX)
    if path == recording or not recording.exists():
        return ""
    return f" Its recording {recording.name} is still beside it: repair that one."


def floats_of(column: Any) -> Floats:
    """Return a nullable float column with NaN for null."""
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)


def one_line(exc: BaseException) -> str:
    return _printable((str(exc).strip().splitlines() or [type(exc).__name__])[0].rstrip("."))


def _shortened(names: Any) -> str:
    listed = list(names)
    return _printable(", ".join(listed[:12]) + (", ..." if len(listed) > 12 else ""))


def _quoted(value: object) -> str:
    return _printable(repr(value)[:100])


def _printable(text: str) -> str:
    """Return a text that may quote bytes of a file: shortened, and without characters that steer a terminal."""
    return printable(text).replace("\n", " ")[:300]
