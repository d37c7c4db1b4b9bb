"""``python -m agent``."""

import sys

from agent.system.start import put_start_right


def main() -> int:
    """Run the program; Ctrl-C ends it without a traceback, even while it is still being imported."""
    from agent.system.interrupts import ending_at_once

    with ending_at_once():
        from agent.cli import main as run
    return run()


if __name__ == "__main__":
    put_start_right(__file__)
    sys.exit(main())
