"""A wheel or another device that SDL does not know as a gamepad, read by its map."""

from typing import Any, Protocol

from agent.contract.controls import Controls
from agent.inputs.device_map import BACK, Button, DeviceMap, Pedal


class Joystick(Protocol):
    """A device as pygame shows it."""

    def get_numaxes(self) -> int: ...

    def get_axis(self, axis: int, /) -> float: ...

    def get_numbuttons(self) -> int: ...

    def get_button(self, button: int, /) -> Any: ...

    def get_name(self) -> str: ...


class MappedDevice:
    """A device with its map.

    Before a device's first event, SDL reports 0 for each axis: the middle. For a pedal that rests at an end, that would
    be half pressed. So an axis counts as released until it has reported another value.

    Args:
        joystick: The open device.
        device_map: What its axes and buttons mean.
    """

    def __init__(self, joystick: Joystick, device_map: DeviceMap) -> None:
        self._joystick = joystick
        self._map = device_map
        self._silent = {
            source.axis
            for source in device_map.sources.values()
            if isinstance(source, Pedal) and abs(source.released) > 0.5
        }

    @property
    def name(self) -> str:
        """The device's own name."""
        return self._joystick.get_name()

    def attached(self) -> bool:
        """Whether it is plugged in, as far as it can say: SDL tells of an unplugged one by its list of devices."""
        return True

    def controls(self) -> Controls:
        """Return the controls of this moment, clipped; axes without a source are neutral."""
        axes = {axis: float(self._joystick.get_axis(axis)) for axis in range(self._joystick.get_numaxes())}
        self._silent = {axis for axis in self._silent if axes.get(axis) == 0.0}
        buttons = {number: bool(self._joystick.get_button(number)) for number in range(self._joystick.get_numbuttons())}
        return self._map.controls({axis: axes[axis] for axis in axes if axis not in self._silent}, buttons)

    def back_pressed(self) -> bool:
        """Whether the button that gives the wheel back is down."""
        source = self._map.sources.get(BACK)
        return isinstance(source, Button) and bool(self._joystick.get_button(source.button))
