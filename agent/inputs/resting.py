"""Notices hands that do nothing, and an axis that stays where no hand would hold it, while a person is recorded."""

from agent.contract.controls import AXIS_BY_NAME, AXIS_NAMES, Controls

RESTED_S = 10.0
"""So long nobody drives without a touch, or holds a stick or a pedal still between its ends."""
_STILL = 0.02  # a hand moves an axis by more within 10 s
_MIDDLE = 0.08  # nearer to its neutral value, an axis counts as let go of
_PRESSED = 0.95  # a pedal may be pressed down for as long as one likes
_GAP_NS = 1_000_000_000  # a pause: what was before it counts no more


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
            is_pressed = axis.low == axis.neutral and value >= _PRESSED * axis.high
            has_rested = (stamp_ns - since_ns) / 1e9 >= RESTED_S
            if has_rested and abs(value - axis.neutral) > _MIDDLE and not is_pressed and name not in self._told:
                self._told.add(name)
                lines.append(
                    f"{name} has rested at {value:.2f} for {RESTED_S:.0f} s, expected it to move: a worn stick, or a "
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
