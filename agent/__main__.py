"""``python -m agent``."""

import sys

from agent.system.interrupts import ending_at_once


def main() -> int:
    """Run the program; Ctrl-C while it is still being imported ends it without a traceback, too."""
    with ending_at_once():
        from agent.cli import main as run
    return run()


if __name__ == "__main__":
    sys.exit(main())
