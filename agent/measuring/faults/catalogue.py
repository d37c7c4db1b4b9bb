"""The faults that can be injected into a drive, and what counts as harm."""

import sys
from dataclasses import dataclass

from agent.capture.screen import FROZEN_S
from agent.contract.controls import Controls

LIMIT_S = 0.2
"""Controls must be neutral this soon after anything goes wrong; see docs/safety.md."""

RATE_HZ = 30.0
_FAULT = 0.6  # how long a fault lasts that passes: longer than any fault takes to be noticed
BUSY_PER_CORE = 4
OVERLOADS = ("overload", "ordinary-user")
PERSONS = Controls(-1.0, 1.0)
"""The controls of the person's gamepad; the network steers the other way."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to harm a drive.

    Attributes:
        name: Key on the command line.
        what: What is done, in words.
        passes: Whether it passes, so that the drive must go on by itself.
        noticed_s: How long it must last to count as a fault; this time comes before the limit.
        lasts_s: How long it lasts, if it passes.
        as_user: Whether an ordinary user drives, who has no right to real time.
    """

    name: str
    what: str
    passes: bool = False
    noticed_s: float = 0.0
    lasts_s: float = _FAULT
    as_user: bool = False


FAULTS = (
    Fault("black", "the picture turns black", passes=True),
    Fault("frozen", f"the picture stays the same for {FROZEN_S:g} s", True, FROZEN_S, FROZEN_S + _FAULT),
    Fault("minimised", "the window is minimised", passes=True),
    Fault("focus", "another window comes into use", passes=True),
    Fault("outside", "the window is pushed off the screen", passes=True),
    Fault("window-anew", "the game's window goes away, and another comes", passes=True),
    Fault("hotkey-held", "a person takes over, and holds the hotkey until the keyboard repeats it", passes=True),
    Fault("pad-asleep", "a person drives with a gamepad, and it falls asleep with its stick held", passes=True),
    Fault("slow-network", "a forward pass takes 2 s", passes=True, lasts_s=2.0),
    Fault("hang", "the loop hangs in native code for 2 s, holding the interpreter's lock", passes=True, lasts_s=2.0),
    Fault("stopped", "the process is stopped (SIGSTOP), and goes on later", passes=True),
    Fault("ctrl-z", "the process and all that it started are stopped from the terminal (SIGTSTP)", passes=True),
    Fault("overload", f"{BUSY_PER_CORE} busy processes a core beside it", passes=True, lasts_s=2.0),
    Fault("ordinary-user", "the same, for a user who has no right to real time", True, lasts_s=2.0, as_user=True),
    Fault("capture", "the screen cannot be read any more"),
    Fault("closed", "the window is closed: the game has ended"),
    Fault("nan", "the network returns NaN"),
    Fault("infinite", "the network returns infinity"),
    Fault("shape", "the network returns two values"),
    Fault("engine", "the network's runtime fails"),
    Fault("bug", "an exception that nobody expects in the loop"),
    Fault("crash", "the process crashes in native code (SIGSEGV; on Windows abort)"),
    Fault("exit", "the process ends without leaving its blocks"),
    Fault("killed", "the process is killed (SIGKILL)"),
    Fault("pad", "the gamepad takes no more controls"),
    Fault("guard-killed", "the guard is killed (SIGKILL)"),
    Fault("guard-stopped", "the guard is stopped (SIGSTOP)"),
)
NUMBERS = {fault.name: number for number, fault in enumerate(FAULTS, 1)}
# These begin when the drive meets them; until then, nothing is wrong. The others begin at once.
IN_THE_LOOP = (
    *("pad-asleep", "slow-network", "hang", "nan", "infinite", "shape", "engine"),
    *("bug", "crash", "exit", "pad"),
)
_NOT_ON_WINDOWS = ("ctrl-z",)  # no such signal there


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one injected fault.

    Attributes:
        fault: Its name.
        neutral_s: Seconds from the fault until the pad was neutral or unplugged, and stayed so; of an overload, the
            longest time that controls were held without new ones; of a person's gamepad that falls asleep, until their
            controls were gone. Infinite if it never was neutral.
        drove_on: Whether the drive went on after a fault that passes; None for a fault that ends the drive.
        said: The last lines that the drive wrote, if the promise was broken.
    """

    fault: str
    neutral_s: float
    drove_on: bool | None
    said: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.neutral_s <= LIMIT_S and self.drove_on is not False


def available() -> tuple[Fault, ...]:
    """Return the faults that can be injected on this system."""
    return tuple(fault for fault in FAULTS if sys.platform != "win32" or fault.name not in _NOT_ON_WINDOWS)
