"""An emulated /dev/uinput for every program that is started with the environment this one prints.

Where the kernel has no uinput (containers, many servers), umockdev answers the system calls that create a device and
read it back: a virtual gamepad that one program plugs in is a device node that another, unmodified, reads. Changes
arrive as the kernel would send them, without fuzz and rumble; what only a kernel can prove is proven in a virtual
machine instead.

Run by the system's Python, which has the bindings (python3-gi, gir1.2-umockdev-1.0), under umockdev-wrapper's library::

    LD_PRELOAD=libumockdev-preload.so.0 /usr/bin/python3 uinput_emulator.py LOG

It prints the folder that UMOCKDEV_DIR must name, serves until its standard input is closed, and writes a line of JSON
into LOG for everything that happens to a device. A device has one reader: a second would take events from the first.
"""

import json
import os
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import GLib, UMockdev  # noqa: E402

# linux/input-event-codes.h
EV_SYN, EV_KEY, EV_ABS, EV_FF = 0, 1, 3, 21
EVENT = struct.Struct("llHHi")  # struct input_event: seconds, microseconds, type, code, value
ABSINFO = struct.Struct("6i")  # struct input_absinfo: value, minimum, maximum, fuzz, flat, resolution

# linux/uinput.h: numbers of the requests of type "U"
UI_DEV_CREATE, UI_DEV_DESTROY, UI_DEV_SETUP, UI_ABS_SETUP, UI_GET_SYSNAME, UI_GET_VERSION = 1, 2, 3, 4, 44, 45
UI_SET_EVBIT, UI_SET_PHYS = 100, 108
UI_SET_CODE_BITS = {101: 1, 102: 2, 103: 3, 104: 4, 105: 17, 106: 18, 107: 21, 109: 5}  # request: event type

# linux/input.h: numbers of the requests of type "E"
EVIOCGVERSION, EVIOCGID, EVIOCGNAME, EVIOCGPHYS, EVIOCGUNIQ, EVIOCGPROP = 1, 2, 6, 7, 8, 9
EVIOCGKEY, EVIOCGLED, EVIOCGSW, EVIOCGBIT, EVIOCGABS = 0x18, 0x19, 0x1B, 0x20, 0x40
EVIOCGEFFECTS, EVIOCGRAB, EVIOCSCLOCKID = 0x84, 0x90, 0xA0
ENOENT, EINVAL, ENOTTY, EIO = 2, 22, 25, 5


@dataclass
class Device:
    """One device that a program is creating or has created."""

    name: bytes = b""
    identity: tuple[int, ...] = (3, 0, 0, 0)  # bus, vendor, product, version
    effects: int = 0
    codes: dict[int, set[int]] = field(default_factory=dict)  # by event type
    axes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)
    keys: set[int] = field(default_factory=set)
    number: int = 0
    sink: int = -1  # file descriptor whose bytes the readers of the node receive

    @property
    def node(self) -> str:
        return f"/dev/input/event{self.number}"


def bits(codes: set[int], size: int) -> bytes:
    mask = bytearray(size)
    for code in codes:
        if code // 8 < size:
            mask[code // 8] |= 1 << (code % 8)
    return bytes(mask)


def words(codes: set[int]) -> str:
    """Return a bit mask as sysfs shows it: 64-bit words in hex, the highest first."""
    value, parts = sum(1 << code for code in codes), []
    while value:
        parts.append(f"{value & (2**64 - 1):x}")
        value >>= 64
    return " ".join(reversed(parts)) or "0"


class Emulator:
    """The kernel's part: one device at a time is created, any number are alive."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self.testbed = UMockdev.Testbed.new()
        self.pending = Device()
        self.alive: dict[str, Device] = {}
        self._count = 4
        self.testbed.add_from_string(
            "P: /devices/virtual/misc/uinput\nN: uinput\nE: DEVNAME=/dev/uinput\nE: MAJOR=10\nE: MINOR=223\n"
            "E: SUBSYSTEM=misc\nA: dev=10:223\n\n"
        )
        self._requests = [Requests(self.answer_uinput)]  # kept: the bindings do not hold them
        self.testbed.attach_ioctl("/dev/uinput", self._requests[0])
        threading.Thread(target=self._forward, daemon=True).start()

    def answer_uinput(self, client: Any, number: int, size: int) -> tuple[int, int]:
        """Serve a request on /dev/uinput; return result and errno."""
        argument = client.get_arg()
        value = struct.unpack("q", bytes(argument.retrieve()))[0]
        device = self.pending
        if number == UI_DEV_CREATE:
            self._create(device)
        elif number == UI_DEV_DESTROY:
            self.testbed.remove_device(f"/sys/devices/virtual/input/input{device.number}")
            self.alive.pop(device.node, None)
            self._note(event="unplugged", device=device.number)
            self.pending = Device()
        elif number == UI_DEV_SETUP:
            data = bytes(argument.resolve(0, size).retrieve())
            device.identity = struct.unpack_from("4H", data)
            device.name = data[8:88].split(b"\0")[0]
            device.effects = struct.unpack_from("I", data, 88)[0]
        elif number == UI_ABS_SETUP:
            data = bytes(argument.resolve(0, size).retrieve())
            (code,) = struct.unpack_from("H", data)
            device.axes[code] = ABSINFO.unpack_from(data, 4)
            device.codes.setdefault(EV_ABS, set()).add(code)
        elif number == UI_GET_SYSNAME:
            name = f"input{device.number}\0".encode()
            argument.resolve(0, size).update(0, name)
            return len(name), 0
        elif number == UI_GET_VERSION:
            argument.resolve(0, 4).update(0, struct.pack("I", 5))
        elif number == UI_SET_EVBIT:
            device.codes.setdefault(value & 0xFF, set())
        elif number in UI_SET_CODE_BITS:
            device.codes.setdefault(UI_SET_CODE_BITS[number], set()).add(value & 0xFFFF)
        elif number not in (UI_SET_PHYS, 110):  # 110: UI_SET_PROPBIT
            return -1, ENOTTY
        return 0, 0

    def answer_evdev(self, client: Any, number: int, size: int) -> tuple[int, int]:
        """Serve a request on a device's node; return result and errno."""
        device = self.alive[client.get_devnode()]
        if number in (EVIOCGRAB, EVIOCSCLOCKID):
            return 0, 0
        if number in (EVIOCGPHYS, EVIOCGUNIQ):
            return -1, ENOENT
        reply = self._describe(device, number, size)
        if reply is None:
            return -1, EINVAL
        client.get_arg().resolve(0, size).update(0, list(reply))
        whole = number in (EVIOCGVERSION, EVIOCGID, EVIOCGEFFECTS) or number >= EVIOCGABS
        return 0 if whole else len(reply), 0

    def _describe(self, device: Device, number: int, size: int) -> bytes | None:
        if number == EVIOCGVERSION:
            return struct.pack("i", 0x10001)
        if number == EVIOCGID:
            return struct.pack("4H", *device.identity)
        if number == EVIOCGNAME:
            return (device.name + b"\0")[:size]
        if number == EVIOCGKEY:
            return bits(device.keys, size)
        if number == EVIOCGPROP or EVIOCGLED <= number <= EVIOCGSW:
            return bytes(size)
        if number == EVIOCGBIT:
            return bits({EV_SYN, *device.codes}, size)
        if EVIOCGBIT < number < EVIOCGABS:
            return bits(device.codes.get(number - EVIOCGBIT, set()), size)
        if EVIOCGABS <= number < 2 * EVIOCGABS and number - EVIOCGABS in device.axes:
            code = number - EVIOCGABS
            value, *rest = device.axes[code]
            return ABSINFO.pack(device.values.get(code, value), *rest)
        if number == EVIOCGEFFECTS:
            return struct.pack("i", device.effects)
        return None

    def _create(self, device: Device) -> None:
        self._count += 1
        device.number = self._count
        path = f"/devices/virtual/input/input{device.number}"
        bus, vendor, product, version = device.identity
        attributes = {
            "capabilities/ev": words({EV_SYN, *device.codes}),
            "capabilities/key": words(device.codes.get(EV_KEY, set())),
            "capabilities/abs": words(device.codes.get(EV_ABS, set())),
            "capabilities/ff": words(device.codes.get(EV_FF, set())),
            **{f"capabilities/{name}": "0" for name in ("rel", "msc", "led", "snd", "sw")},
            "properties": "0",
            "name": device.name.decode(),
            "phys": "",
            "uniq": "",
            "id/bustype": f"{bus:04x}",
            "id/vendor": f"{vendor:04x}",
            "id/product": f"{product:04x}",
            "id/version": f"{version:04x}",
        }
        listed = "".join(f"A: {key}={value}\\n\n" for key, value in attributes.items())
        self.testbed.add_from_string(
            f"P: {path}\nE: SUBSYSTEM=input\nE: ID_INPUT=1\nE: ID_INPUT_JOYSTICK=1\n"
            f'E: PRODUCT={bus:x}/{vendor:x}/{product:x}/{version:x}\nE: NAME="{device.name.decode()}"\n{listed}\n'
            f"P: {path}/event{device.number}\nN: input/event{device.number}\nE: DEVNAME={device.node}\nE: MAJOR=13\n"
            f"E: MINOR={64 + device.number}\nE: SUBSYSTEM=input\nE: ID_INPUT=1\nE: ID_INPUT_JOYSTICK=1\n"
            f"A: dev=13:{64 + device.number}\\n\nL: device=../../input{device.number}\n\n"
        )
        self.alive[device.node] = device
        self._requests.append(Requests(self.answer_evdev))
        self.testbed.attach_ioctl(device.node, self._requests[-1])
        device.sink = self.testbed.get_dev_fd(device.node)
        self._note(event="plugged in", device=device.number, name=device.name.decode())

    def _note(self, **what: Any) -> None:
        self._log.write(json.dumps({"time_s": time.time(), **what}) + "\n")
        self._log.flush()

    def _forward(self) -> None:
        """Pass on what is written to /dev/uinput, as the kernel would: only what has changed."""
        source = self.testbed.get_dev_fd("/dev/uinput")
        rest, report = b"", b""
        while True:
            try:
                rest += os.read(source, 4096)
            except OSError as exc:
                if exc.errno != EIO:  # nobody has opened it
                    raise
                time.sleep(0.005)
                continue
            while len(rest) >= EVENT.size:
                _, _, kind, code, value = EVENT.unpack_from(rest)
                rest = rest[EVENT.size :]
                device = self.pending
                if device.sink < 0 or not self._changes(device, kind, code, value, report):
                    continue
                now = time.time()
                report += EVENT.pack(int(now), int(now % 1 * 1e6), kind, code, value)
                self._note(event="changed", device=device.number, type=kind, code=code, value=value)
                if kind == EV_SYN:
                    os.write(device.sink, report)
                    report = b""

    @staticmethod
    def _changes(device: Device, kind: int, code: int, value: int, report: bytes) -> bool:
        if kind == EV_ABS:
            known = device.values.get(code, 0)
            device.values[code] = value
            return known != value
        if kind == EV_KEY:
            was_down = code in device.keys
            (device.keys.add if value else device.keys.discard)(code)
            return was_down != bool(value)
        return kind != EV_SYN or bool(report)


class Requests(UMockdev.IoctlBase):  # type: ignore[misc]
    """Hands a program's requests over to one of the emulator's methods."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def do_handle_ioctl(self, client: Any) -> bool:
        request = client.get_request()
        try:
            result, error = self._answer(client, request & 0xFF, (request >> 16) & 0x3FFF)
        except Exception as exc:
            sys.stderr.write(f"request {request:#x}: {exc!r}\n")
            result, error = -1, EINVAL
        client.complete(result, error)
        return True


def main() -> None:
    with open(sys.argv[1], "w") as log:
        emulator = Emulator(log)
        sys.stdout.write(emulator.testbed.get_root_dir() + "\n")
        sys.stdout.flush()
        loop = GLib.MainLoop()
        threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
        loop.run()


if __name__ == "__main__":
    main()
