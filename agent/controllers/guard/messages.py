"""The bytes that the agent sends to the guard."""

import struct

from agent.contract.controls import AXES
from agent.system.pacing import clock_ns

# Messages to the guard, which has a tenth of a millisecond less to do than with pickles: what it is, how many reports
# the agent has read, and then when controls were made, the value of every axis in the order of the table, and how long
# they hold; or when a tap was, how long that holds, how long the button is down, and its name. What the guard has to
# say is in no hurry.
HEAD = struct.Struct("=cI")
CONTROLS = struct.Struct(f"={len(AXES) + 2}d")
TAP = struct.Struct("=3d")
IS_CONTROLS, IS_TAP, IS_END = b"c", b"t", b"e"


def clock_s() -> float:
    return clock_ns() / 1e9
