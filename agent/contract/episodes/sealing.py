"""Turning a recording, whole or damaged, into a sealed episode."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from agent.contract.durable import sync_folder
from agent.contract.episodes.columns import (
    READ_ERRORS,
    RECORDING_SUFFIX,
    REPAIR,
    SEALED_SUFFIX,
    SEALING_SUFFIX,
    ArrowFile,
    check_columns,
    check_readable,
    damaged_episode,
    is_recording,
    one_line,
    parse_metadata,
    refuse_existing,
)
from agent.contract.episodes.reading import Episode, RecordingFile, open_parquet, read_pictures
from agent.contract.errors import EpisodeError, FrameError
from agent.contract.picture_codec import decode_picture


def recover(path: Path) -> Episode:
    """Seal the remains of a killed recording as ``NAME.parquet``.

    The recording stays. The caller may remove it if :attr:`Episode.unread_bytes` of the result is 0.

    Args:
        path: ``NAME.recording``; no process may still be writing it.

    Raises:
        EpisodeError: If there is nothing to recover, or if ``NAME.parquet`` exists or cannot be written.
    """
    if not is_recording(path):
        raise ValueError(f"expected a path that ends in {RECORDING_SUFFIX}, not {path}")
    remains = Episode.open(path)
    summary = remains.recovered
    del remains  # unmaps the file; Windows would keep it open otherwise
    sealed = path.with_suffix(SEALED_SUFFIX)
    _, unread_bytes = seal_recording(path, sealed)
    episode = Episode.open(sealed)
    episode.recovered, episode.unread_bytes = summary, unread_bytes
    return episode


def salvage(damaged: Path, sealed: Path) -> tuple[int, int]:
    """Write the readable part of a damaged sealed episode as a new episode.

    A row group (about half a second) is kept whole or not at all, so frames and controls stay together. Every kept row
    passed the same checks as on reading, pictures included. So the new episode will not be found damaged.

    Args:
        damaged: A sealed episode, under any name.
        sealed: The file to write; must not exist.

    Returns:
        How many rows were kept, and how many were lost.

    Raises:
        EpisodeError: If nothing can be read, or the new episode cannot be written.
    """
    file = _open_sealed(damaged)
    rows = int(file.metadata.num_rows)
    whole = [index for index in range(file.num_row_groups) if _is_whole(damaged, file, index)]
    if not whole:
        raise damaged_episode(damaged, "no part of it can be read")

    def batches() -> Iterator[Any]:
        for index in whole:
            yield from file.read_row_group(index, use_threads=False).combine_chunks().to_batches()

    kept = sum(file.metadata.row_group(index).num_rows for index in whole)
    _write_sealed(sealed, file.schema_arrow, batches(), f"{damaged.name} is left as it is")
    return kept, rows - kept


def cut(whole: Path, sealed: Path, good: npt.NDArray[np.bool_]) -> None:
    """Write some rows of a sealed episode, as they are, as a new episode.

    Args:
        whole: A sealed episode.
        sealed: The file to write; must not exist.
        good: Which rows: bool, shape (rows,), at least one of them true.

    Raises:
        EpisodeError: If it is damaged, or the new episode cannot be written.
    """
    file = _open_sealed(whole)

    def batches() -> Iterator[Any]:
        start = 0
        for index in range(file.num_row_groups):
            table = file.read_row_group(index, use_threads=False)
            chosen = table.filter(pa.array(good[start : start + table.num_rows]))
            start += table.num_rows
            yield from (each for each in chosen.combine_chunks().to_batches() if each.num_rows)

    _write_sealed(sealed, file.schema_arrow, batches(), f"{whole.name} is left as it is")


def _open_sealed(path: Path) -> Any:
    """Open a sealed episode's file; what is in its row groups may still be damaged."""
    check_readable(path)
    try:
        file = open_parquet(path)
        parse_metadata(path, file.schema_arrow)
    except READ_ERRORS as exc:
        raise damaged_episode(path, f"reading it as Parquet failed: {one_line(exc)}") from exc
    return file


def _is_whole(path: Path, file: Any, index: int) -> bool:
    try:
        for pictures in read_pictures(path, file, index):
            for picture in pictures.field("bytes"):
                decode_picture(picture.as_py() or b"")
        table = file.read_row_group(index, use_threads=False)
        check_columns(path, table, file.metadata.row_group(index).num_rows)
    except (*READ_ERRORS, EpisodeError, FrameError):
        return False
    return True


def seal_recording(recording: Path, sealed: Path) -> tuple[int, int]:
    """Turn a recording into Parquet batch by batch; return its rows, and how many bytes could not be read."""
    check_readable(recording)
    with pa.PythonFile(ArrowFile(recording)) as source:
        reader = RecordingFile(recording, source)

        def batches() -> Iterator[Any]:
            yield from reader.batches()
            if not reader.rows:  # no sealed file is better than one without rows
                raise damaged_episode(recording, "no half second of it can be read")

        _write_sealed(sealed, reader.schema, batches(), f"the drive is safe in {recording.name}. {REPAIR}")
        return reader.rows, reader.unread


def _write_sealed(sealed: Path, schema: Any, batches: Iterator[Any], otherwise: str) -> None:
    """Write a sealed episode, one row group for each batch; it appears whole or not at all."""
    refuse_existing(sealed)
    temporary = sealed.with_suffix(SEALING_SUFFIX)
    try:
        with temporary.open("wb") as file:
            # PNG does not compress further, and floats hardly do. Checksums turn flipped bits into an error on reading.
            with pq.ParquetWriter(
                file,
                schema,
                compression="NONE",
                use_dictionary=False,
                write_statistics=False,
                write_page_checksum=True,
            ) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(sealed)
        sync_folder(sealed.parent)
    except (pa.ArrowException, OSError) as exc:
        raise EpisodeError(
            f"{sealed} cannot be written ({one_line(exc)}), expected room on the disk; {otherwise}"
        ) from exc
    finally:
        temporary.unlink(missing_ok=True)
