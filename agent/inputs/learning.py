"""Learns what a device's axes and buttons mean, from its values while a person holds one thing after the other.

::

    rest            everything let go        ->  centre and released values
    left, right     the wheel at each end    ->  the axis that moved most
    throttle, ...   one pedal pressed        ->  the axis that moved most, or a button that went down
"""

from dataclasses import dataclass

from agent.contract.errors import ControllerError
from agent.inputs.device_map import BACK, LEAST_TRAVEL, STEERING, Button, DeviceMap, Pedal, Source, Wheel, model_of
from agent.inputs.mapped import Joystick

_CLEAR = 1.5  # the axis that is meant moves at least this many times as far as any other


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a device reports at one moment.

    Attributes:
        axes: One value an axis, [-1, 1].
        buttons: Whether each button is down.
    """

    axes: tuple[float, ...]
    buttons: tuple[bool, ...]

    @classmethod
    def of(cls, joystick: Joystick) -> "Snapshot":
        """Return what a device reports now."""
        return cls(
            tuple(float(joystick.get_axis(axis)) for axis in range(joystick.get_numaxes())),
            tuple(bool(joystick.get_button(number)) for number in range(joystick.get_numbuttons())),
        )


class Learner:
    """Builds a device's map step by step; a step that fails may be repeated.

    Args:
        name: The device's own name.
        guid: SDL's identifier of it.
        rest: What it reports while nobody touches it.
    """

    def __init__(self, name: str, guid: str, rest: Snapshot) -> None:
        self._name, self._guid = name, model_of(guid)
        self._rest = rest
        self._sources: dict[str, Source] = {}

    def learn_steering(self, left: Snapshot, right: Snapshot) -> Wheel:
        """Learn the steering from the wheel at its left and right end.

        Raises:
            ControllerError: If no axis moved, or another one for each end.
        """
        axis = self._moved(left)
        if axis is None or axis != self._moved(right):
            raise ControllerError(
                "no single axis moved to both sides. Turn only the wheel, as far as you turn it in a bend, and hold it."
            )
        wheel = Wheel(axis, left.axes[axis], self._rest.axes[axis], right.axes[axis])
        self._sources[STEERING] = wheel
        return wheel

    def learn_pedal(self, name: str, pressed: Snapshot) -> Pedal | Button:
        """Learn a pedal, a lever or a button from the device while it is pressed fully.

        Raises:
            ControllerError: If nothing moved, or the steering did.
        """
        if (button := self._pushed(pressed)) is not None:
            source: Pedal | Button = Button(button)
        else:
            steering = self._sources.get(STEERING)
            axis = self._moved(pressed)
            if axis is None or (isinstance(steering, Wheel) and axis == steering.axis):
                raise ControllerError(f"no single pedal moved. Press only the {name}, fully, and hold it.")
            source = Pedal(axis, self._rest.axes[axis], pressed.axes[axis])
        self._sources[name] = source
        return source

    def learn_back(self, pressed: Snapshot) -> Button:
        """Learn which button gives the wheel back to the network.

        Raises:
            ControllerError: If no button, or more than one, went down.
        """
        number = self._pushed(pressed)
        if number is None:
            raise ControllerError("no single button went down. Press one button, and hold it.")
        self._sources[BACK] = Button(number)
        return Button(number)

    def result(self) -> DeviceMap:
        """Return the map of what was learnt.

        Raises:
            ControllerError: If the steering was not learnt.
        """
        return DeviceMap(self._name, self._guid, dict(self._sources))

    def _moved(self, held: Snapshot) -> int | None:
        """Return the axis that moved clearly further than every other; None if none did."""
        ways = [abs(now - rest) for now, rest in zip(held.axes, self._rest.axes, strict=True)]
        order = sorted(range(len(ways)), key=ways.__getitem__, reverse=True)
        if not order or ways[order[0]] < LEAST_TRAVEL:
            return None
        is_clear = len(order) < 2 or ways[order[0]] >= _CLEAR * ways[order[1]]
        return order[0] if is_clear else None

    def _pushed(self, held: Snapshot) -> int | None:
        """Return the only button that went down; None if none or several did."""
        pushed = [
            number
            for number, (now, rest) in enumerate(zip(held.buttons, self._rest.buttons, strict=True))
            if now and not rest
        ]
        return pushed[0] if len(pushed) == 1 else None
