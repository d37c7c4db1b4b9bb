"""``python -m training``."""

import sys

from agent.system.start import put_start_right


def main() -> int:
    """Run the program; Ctrl-C while it is still being imported ends it without a traceback, too."""
    from agent.system.interrupts import ending_at_once

    with ending_at_once():
        from training.cli import main as run
    return run()


if __name__ == "__main__":
    put_start_right(__file__)
    sys.exit(main())
