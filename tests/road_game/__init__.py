"""A road game in a window, for tests and measurements: a game of one's own, which knows nothing of what drives it."""

import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
