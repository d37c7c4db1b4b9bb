"""Checks on files and values from unknown sources."""

import errno
import re
import stat
import sys
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def is_plain_name(name: object) -> bool:
    """Return whether this is the name of a file or folder that cannot lead out of its parent folder.

    It has at most 100 letters, digits, dots, hyphens and underscores, and does not begin with a dot. So it holds no
    separator, no drive and no ``..``.
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def is_plain_text(text: object, most: int = 100) -> bool:
    """Return whether this is a text of 1 to ``most`` printable characters, none of which steers a terminal."""
    return isinstance(text, str) and 0 < len(text) <= most and text.isprintable()


def printable(text: str) -> str:
    """Return a text with a question mark for each character that steers a terminal; line breaks stay.

    File names, window titles and file headers from elsewhere can hold escape sequences. These change the terminal's
    title, clear it, or fill the clipboard.
    """
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def is_finite(value: object) -> bool:
    """Return whether this is a number that a float can hold, and not a boolean."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def check_plain_file(path: Path, most_bytes: int) -> None:
    """Refuse an unsuitable file before reading a byte of it.

    Raises:
        OSError: If it is missing, too large, or a folder, pipe or device. Reading a pipe or device might never end.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    if about.st_size > most_bytes:
        found = f"it has {about.st_size} bytes, more than the {most_bytes} that are read"
        raise OSError(errno.EFBIG, found, str(path))


def read_plain_file(path: Path, most_bytes: int) -> bytes:
    """Return a file's content.

    Raises:
        OSError: If it is missing, unreadable, not a plain file, or larger than ``most_bytes``.
    """
    check_plain_file(path, most_bytes)
    with path.open("rb") as file:
        return file.read(most_bytes)
