"""The first thing that a program does: it puts right what it was started with. Imports nothing but what is loaded."""

import os
import sys
from contextlib import suppress

_STANDARD_STREAMS = 3


def put_start_right(main_file: str) -> None:
    """Have the working folder shadow no library, and the standard streams lead somewhere.

    ``python -m`` looks for every module in the working folder first, so that a ``random.py`` there takes the library's
    place. The folder stays where it is the checkout itself.

    A stream that was closed (``>&-``) has no file object, and the next file that is opened gets its number: what a
    library prints then goes into a recording.

    Args:
        main_file: The ``__file__`` of the program's ``__main__``.
    """
    with suppress(FileNotFoundError):  # the working folder was deleted: nothing can lie in it
        home = os.path.dirname(os.path.dirname(os.path.abspath(main_file)))
        if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd() != home:
            del sys.path[0]
    for number in range(_STANDARD_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the end
