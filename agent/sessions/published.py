"""Weights that are fetched once: which there are, from where, and the checked download.

The program knows the checksum of each model's ``spec.json``, and that file has those of the others. So whatever
serves them, a folder that is complete holds what was published.
"""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from agent.contract.errors import WeightsError
from agent.contract.spec import MAX_MODEL_BYTES, SPEC_FILE, ModelSpec
from agent.settings.weights import WeightsSettings

PUBLISHED = {"supertuxkart": "382089c49ebc351483526d768a44b3e00cd751ab20edd2579d0b99696409c5bc"}
"""SHA-256 of the spec.json of every model that is published outside of the package, by its name."""

ADDRESS = ""
"""Where they are published: ADDRESS/NAME/FILE is a file of a model. Empty: no place is known yet."""
ADDRESS_VARIABLE = "HOODCAM_WEIGHTS_ADDRESS"
"""The environment variable that names another place."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_PARTIAL, _PART = ".partial", ".part"  # a folder that is not complete, and a file
_UNUSABLE_RANGE = 416  # http: nothing is left after the part that is here

_PACKAGE = Path(__file__).resolve().parents[1]


class Progress(Protocol):
    """Shows how far a download is."""

    def __call__(self, name: str, bytes_so_far: int, bytes_in_all: int | None) -> object:
        """Take note.

        Args:
            name: The file.
            bytes_so_far: What is here of it.
            bytes_in_all: Its size; None if the server does not say.
        """


def silent(name: str, bytes_so_far: int, bytes_in_all: int | None) -> None:
    """Show nothing."""


def fetched_folder() -> Path:
    """Return the user's folder for weights that were fetched."""
    from platformdirs import user_data_path

    return user_data_path("hoodcam", appauthor=False) / "weights"


def find_weights(name: str) -> Path | None:
    """Return the folder of a model that came with the program or was fetched; None if there is none.

    The first of: ``model_weights`` in the current folder, in the checkout, in the installed package; the user's own.
    """
    return next((place / name for place in _places() if (place / name / SPEC_FILE).exists()), None)


def _places() -> tuple[Path, ...]:
    """Return where a model's folder may be, the first choice first."""
    return Path("model_weights"), _PACKAGE.parent / "model_weights", _PACKAGE / "model_weights", fetched_folder()


@dataclass(frozen=True, slots=True)
class Known:
    """A model that can be had.

    Attributes:
        name: Its name, which is the game's.
        folder: Where it is; None if it has to be fetched.
    """

    name: str
    folder: Path | None


def known_weights() -> list[Known]:
    """Return the models that came with the program, were fetched, or are published."""
    names = {path.parent.name for place in _places() for path in place.glob(f"*/{SPEC_FILE}")} | set(PUBLISHED)
    return [Known(name, find_weights(name)) for name in sorted(names)]


def fetch_weights(settings: WeightsSettings, progress: Progress = silent) -> Path:
    """Fetch a model, check it, and return its folder; what is already there is not fetched again.

    A download that was cut off is continued.

    Raises:
        WeightsError: If it is not published, cannot be fetched, or differs from what was published.
    """
    name = settings.name
    if (there := find_weights(name)) is not None and settings.out is None:
        return there
    if name not in PUBLISHED:
        raise WeightsError(f"no weights for {name!r} are published, expected one of {', '.join(sorted(PUBLISHED))}.")
    address = (settings.address or os.environ.get(ADDRESS_VARIABLE) or ADDRESS).rstrip("/")
    if not address:
        raise WeightsError(
            f"nobody has said where the weights for {name} are published, expected an address: pass --address, or set "
            f"{ADDRESS_VARIABLE}. If you have the folder, pass it with --weights."
        )
    folder = (fetched_folder() if settings.out is None else settings.out) / name
    unfinished = folder.with_name(name + _PARTIAL)
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        _fetch(f"{address}/{name}", unfinished, SPEC_FILE, PUBLISHED[name], progress)
        spec = ModelSpec.load(unfinished)
        for file, checksum in spec.sha256.items():
            _fetch(f"{address}/{name}", unfinished, file, checksum, progress)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except OSError as exc:
        raise WeightsError(
            f"the weights cannot be kept in {folder} ({exc.strerror or exc}), expected a folder that can be written. "
            "Pass another with --out, and that one's NAME with --weights."
        ) from exc
    return folder


def _fetch(address: str, folder: Path, name: str, checksum: str, progress: Progress) -> None:
    """Fetch a file into a folder, or what is missing of it."""
    path, part = folder / name, folder / (name + _PART)
    if path.exists() and _checksum(path) == checksum:
        return
    try:
        _download(f"{address}/{name}", part, partial(progress, name))
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as exc:
        raise _unreachable(f"{address}/{name}", exc) from exc
    if (actual := _checksum(part)) != checksum:
        part.unlink()
        raise WeightsError(
            f"{address}/{name} has SHA-256 {actual[:12]}…, expected {checksum[:12]}…: it is not what was published, or "
            "was damaged on its way. Fetch it again, or from another --address."
        )
    part.replace(path)


def _download(address: str, part: Path, progress: Callable[[int, int | None], object]) -> None:
    """Append to a file what an address has beyond its end; all of it if the server does not do that."""
    here = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={here}-"} if here else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as exc:
        exc.close()
        if here and exc.code == _UNUSABLE_RANGE:  # all of it is here already; the checksum decides
            return
        raise
    with answer, part.open("ab" if answer.status == http.client.PARTIAL_CONTENT else "wb") as file:
        here = file.tell()
        length = answer.headers.get("Content-Length")
        in_all = here + int(length) if length is not None and length.isdecimal() else None
        while chunk := answer.read(_CHUNK_BYTES):
            file.write(chunk)
            here += len(chunk)
            if here > MAX_MODEL_BYTES:
                raise ValueError(f"more than {MAX_MODEL_BYTES} bytes")
            progress(here, in_all)
        if in_all is not None and here < in_all:
            raise http.client.IncompleteRead(b"", in_all - here)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreachable(address: str, problem: Exception) -> WeightsError:
    reason = getattr(problem, "reason", None) or problem
    return WeightsError(
        f"{address} cannot be fetched ({type(problem).__name__}: {reason}), expected a server that has it. Start "
        "again: what has arrived is kept. Without a network, copy the model's folder here and pass it with --weights."
    )
