"""Knows where a device rests, and notices hands that do nothing and axes that stay where no hand would hold them."""

from agent.contract.controls import AXIS_BY_NAME, AXIS_NAMES, Controls

RESTED_S = 10.0
"""So long nobody drives without a touch, or holds a stick or a pedal still between its ends."""
_HELD_S = 30.0  # at the end of its way, a stick may be held for longer: in a circle
_LET_GO_S = 1.0  # so long an axis stays where it is let go of, and no hand on the move
_WORN = 0.5  # share of its way beside the middle at which a worn stick may rest; further out, it is held
_STILL = 0.02  # a hand moves an axis by more within 10 s
_MIDDLE = 0.08  # nearer to its neutral value, an axis counts as let go of
_PRESSED = 0.95  # a pedal may be pressed down for as long as one likes
_GAP_NS = 1_000_000_000  # a pause: what was before it counts no more


class RestingPlace:
    """Where the axes of a device rest: a worn stick beside its middle, and whatever is held at first, until let go of.

    What was first read counts as rest. A nearer value does once an axis has stayed there for a second; where more than
    half of the way was held, as soon as it is seen.

    Args:
        controls: What was first read.
        now_ns: When.

    Attributes:
        shares: For each axis, how far from its neutral value it rests, as a share of the way to its end: [-1, 1].
    """

    def __init__(self, controls: Controls, now_ns: int) -> None:
        self.shares = _shares(controls)
        self._near = [(share, now_ns) for share in self.shares]  # what each axis stays near, and since when

    def moved(self, controls: Controls, now_ns: int) -> float:
        """Return how far the axis that was moved farthest is from its rest, as a share of the whole way: [0, 1]."""
        farthest = 0.0
        for index, share in enumerate(_shares(controls)):
            near, since_ns = self._near[index]
            if abs(share - near) > _STILL:
                near, since_ns = self._near[index] = share, now_ns
            rest = self.shares[index]
            is_beyond = share * rest < 0  # on the other side of neutral
            if abs(rest) > _WORN and (is_beyond or abs(share) < abs(rest)):
                rest = 0.0 if is_beyond else share
            elif (now_ns - since_ns) / 1e9 >= _LET_GO_S and abs(near) < abs(rest):
                rest = near
            self.shares[index] = rest
            # On the other side of neutral, the whole way counts.
            farthest = max(farthest, abs(share) if is_beyond else abs(share) - abs(rest))
        return farthest

    def describe(self, least: float) -> str:
        """Return the axes that rest farther than a share from neutral, such as ``steering 0.40``; else nothing."""
        return ", ".join(
            f"{name} {AXIS_BY_NAME[name].value_at(share):.2f}"
            for name, share in zip(AXIS_NAMES, self.shares, strict=True)
            if abs(share) > least
        )


def _shares(controls: Controls) -> list[float]:
    return [AXIS_BY_NAME[name].share(value) for name, value in zip(AXIS_NAMES, controls.values, strict=True)]


class RestWatch:
    """Watches a person's controls; says each thing once."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, int]] = {}  # the value that each axis stays near, and since when
        self._last_ns: int | None = None
        self._was_moved = False
        self._told: set[str] = set()

    def look(self, controls: Controls, stamp_ns: int) -> list[str]:
        """Return what is wrong, a line each; nothing most of the time."""
        if self._last_ns is not None and stamp_ns - self._last_ns > _GAP_NS:
            self._held.clear()
        self._last_ns = stamp_ns
        lines = []
        for name, value in zip(AXIS_NAMES, controls.values, strict=True):
            axis = AXIS_BY_NAME[name]
            self._was_moved |= abs(value - axis.neutral) > _MIDDLE
            held, since_ns = self._held.setdefault(name, (value, stamp_ns))
            if abs(value - held) > _STILL:
                self._held[name] = value, stamp_ns
                continue
            is_at_end = abs(axis.share(value)) >= _PRESSED
            is_pressed = is_at_end and axis.low == axis.neutral
            longest_s = _HELD_S if is_at_end else RESTED_S
            has_rested = (stamp_ns - since_ns) / 1e9 >= longest_s
            if has_rested and abs(value - axis.neutral) > _MIDDLE and not is_pressed and name not in self._told:
                self._told.add(name)
                lines.append(
                    f"{name} has rested at {value:.2f} for {longest_s:.0f} s, expected it to move: a worn stick, or a "
                    "device that has fallen silent, looks like this. Let go of it: if it stays there, plug the device "
                    "in again or teach it with `python -m agent inputs learn`, and delete what was recorded like that."
                )
        rested_ns = min(since_ns for _, since_ns in self._held.values())
        if not self._was_moved and "" not in self._told and (stamp_ns - rested_ns) / 1e9 >= RESTED_S:
            self._told.add("")
            lines.append(
                f"nothing was pressed or turned for {RESTED_S:.0f} s, expected you to drive: look at what you drive "
                "with by `python -m agent doctor`, and whether the game hears it."
            )
        return lines
