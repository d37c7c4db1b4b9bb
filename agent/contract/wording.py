"""What the program calls itself: in a checkout ``python -m agent``, installed from a package ``hoodcam``."""

import re
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2]
_WORDS = (
    (re.compile(r"python -m agent\b"), "hoodcam"),
    (re.compile(r"""pip install (?:-e )?(['"]?)\.(\[[a-z,]+\])\1"""), r"pip install 'hoodcam\2'"),
    (re.compile(r"""pip install (?:-e )?(['"]?)\.\1(?=[\s`])"""), "pip install --force-reinstall hoodcam"),
    (re.compile(r"a checkout that has changed is installed again with [^.]*\."), ""),
    (re.compile(r"Install the checkout again"), "Install the program again"),
    (re.compile(r"`git checkout model_weights`"), "`hoodcam weights get`, or install the program again"),
    (re.compile(r"(?<![\w/])docs/(?=(?:profiles|safety|supertuxkart|torcs|your-own-game)\.md)"), "the project's docs/"),
)


def is_checkout() -> bool:
    """Return whether the program runs from its source folder."""
    return (_FOLDER / "pyproject.toml").exists() and (_FOLDER / "model_weights").exists()


def as_installed(text: str) -> str:
    """Return a text with the commands that work here; messages are written for a checkout."""
    if is_checkout():
        return text
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text
