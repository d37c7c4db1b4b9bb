"""Checks on files and values that somebody else may have made."""

import errno
import re
import stat
import sys
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def is_plain_name(name: object) -> bool:
    """Return whether this is a name for a file or folder that cannot lead out of the folder it is put in.

    Letters, digits, dots, hyphens and underscores, at most 100, no dot first: no separator, no drive, no ``..``.
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def is_plain_text(text: object, most: int = 100) -> bool:
    """Return whether this is a text of 1 to ``most`` printable characters: nothing that steers a terminal."""
    return isinstance(text, str) and 0 < len(text) <= most and text.isprintable()


def printable(text: str) -> str:
    """Return a text with a question mark for everything that steers a terminal; lines stay lines.

    File names, window titles and headers of files from elsewhere can hold escape sequences: they change the terminal's
    title, clear it, or fill the clipboard.
    """
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def is_finite(value: object) -> bool:
    """Return whether this is a number, no boolean, that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def check_plain_file(path: Path, most_bytes: int) -> None:
    """Refuse a file before a byte of it is read.

    Raises:
        OSError: If it is missing, too large, or a folder, pipe or device, which might never end.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    if about.st_size > most_bytes:
        found = f"it has {about.st_size} bytes, more than the {most_bytes} that are read"
        raise OSError(errno.EFBIG, found, str(path))


def read_plain_file(path: Path, most_bytes: int) -> bytes:
    """Return a file's content.

    Raises:
        OSError: If it is missing, unreadable, no plain file, or larger than ``most_bytes``.
    """
    check_plain_file(path, most_bytes)
    with path.open("rb") as file:
        return file.read(most_bytes)
