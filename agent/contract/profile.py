"""A game's facts as plain data: where its picture is, what to hide of it, how fast to drive, what its pad does."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from agent.contract.controls import STANDARD_AXES
from agent.contract.errors import GameError

Button = Literal[
    "a", "b", "x", "y", "start", "back", "guide", "left_shoulder", "right_shoulder", "left_thumb", "right_thumb",
    "up", "down", "left", "right",
]  # fmt: skip
"""The buttons of an Xbox 360 pad; the last four are its directional pad."""
SteeringAxis = Literal["left_x", "right_x"]
PedalAxis = Literal[
    "left_trigger", "right_trigger", "left_y_up", "left_y_down", "right_y_up", "right_y_down", "button_a", "button_b",
    "button_x", "button_y", "left_shoulder", "right_shoulder",
]  # fmt: skip
"""Where a pedal can lie: a trigger, half of a stick, or a button, which is down from half a pedal on."""

ControllerName = Literal["gamepad", "keyboard"]
"""What moves a car."""

StuckAction = Literal["wait", "reverse", "press", "reset"]
"""What is done about a car that is stuck; see :class:`Stuck`."""

MAX_DEAD_ZONE = 0.9
"""Beyond it hardly anything would be left of an axis."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A part of a frame, in fractions of its size, so that it holds at every resolution.

    Attributes:
        left: Distance from the left edge, [0, 1].
        top: Distance from the top edge, [0, 1].
        width: (0, 1].
        height: (0, 1].
    """

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        values = (self.left, self.top, self.width, self.height)
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
            raise GameError(f"rectangle {values} has a value that is no finite number, expected fractions from 0 to 1.")
        beyond = self.left + self.width > 1 or self.top + self.height > 1
        if beyond or min(self.left, self.top) < 0 or min(self.width, self.height) <= 0:
            raise GameError(
                f"rectangle {values} leaves the frame or is empty, expected (left, top, width, height) as fractions "
                "from 0 to 1."
            )


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a screen or a window in pixels: the one convention everywhere is left, top, width, height.

    Attributes:
        left: Distance from the left edge of the window or of the desktop; negative on a monitor left of the main one.
        top: Distance from the top edge.
        width: At least 1.
        height: At least 1.
    """

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise GameError(f"region {self} is empty, expected left,top,width,height with a size of at least 1 x 1 px.")

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.width},{self.height}"

    def within(self, outer: "Region") -> "Region":
        """Return this region, counted from the corner of ``outer``, in what ``outer`` is counted in; clipped to it.

        Raises:
            GameError: If nothing of it is inside.
        """
        left, top = outer.left + self.left, outer.top + self.top
        right = min(left + self.width, outer.left + outer.width)
        bottom = min(top + self.height, outer.top + outer.height)
        left, top = max(left, outer.left), max(top, outer.top)
        if right <= left or bottom <= top:
            raise GameError(
                f"region {self} lies outside of the {outer.width} x {outer.height} px it is counted in, expected a "
                "part of it. Give another --region, or change the game's window size."
            )
        return Region(left, top, right - left, bottom - top)


MSS = "mss"
"""The grabber that comes along."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Where a game's picture is.

    Attributes:
        window: Part of its window's title, whatever the case; None captures a monitor.
        monitor: Which one if no window is named, from 1.
        region: Part of the window's inside, or of the monitor; None takes all of it.
        needs_focus: Whether to drive only while the window is the one in use. Keys would go to another program
            otherwise, and many games let go of the pad or stand still.
        grabber: What reads its pixels, see ``agent.capture.registry``.
    """

    window: str | None = None
    monitor: int = 1
    region: Region | None = None
    needs_focus: bool = True
    grabber: str = MSS


@dataclass(frozen=True, slots=True)
class PadMap:
    """What lies where on the virtual gamepad.

    A dead zone is the smallest deflection that the game reacts to, as a share of the axis; predictions are mapped onto
    what lies beyond it (an inverse dead zone), so that a small prediction has a small effect instead of none.

    Attributes:
        steering: Axis of the steering.
        throttle: Where the throttle lies.
        brake: Where the brake lies.
        steering_dead_zone: [0, 0.9].
        throttle_dead_zone: [0, 0.9].
        brake_dead_zone: [0, 0.9].
        steering_slew_per_s: How fast the stick may move, full deflections a second; None lets it jump.
        others: Further axes of the table in ``agent.contract.controls`` that the game has, each with where it lies;
            without a dead zone.
    """

    steering: SteeringAxis = "left_x"
    throttle: PedalAxis = "right_trigger"
    brake: PedalAxis = "left_trigger"
    steering_dead_zone: float = 0.0
    throttle_dead_zone: float = 0.0
    brake_dead_zone: float = 0.0
    steering_slew_per_s: float | None = None
    others: tuple[tuple[str, SteeringAxis | PedalAxis], ...] = ()

    @property
    def places(self) -> "tuple[tuple[str, SteeringAxis | PedalAxis, float], ...]":
        """Every axis that the pad moves, with where it lies and its dead zone."""
        return (
            ("steering", self.steering, self.steering_dead_zone),
            ("throttle", self.throttle, self.throttle_dead_zone),
            ("brake", self.brake, self.brake_dead_zone),
            *((name, place, 0.0) for name, place in self.others),
        )


@dataclass(frozen=True, slots=True)
class SteeringRamp:
    """How a game turns the wheel while a key is held: not at once, and back while none is.

    Attributes:
        half_s: From the centre half way to full lock.
        full_s: From the centre to full lock.
        centre_s: From full lock back to the centre.
    """

    half_s: float
    full_s: float
    centre_s: float

    def __post_init__(self) -> None:
        if not 0 < self.half_s < self.full_s or self.centre_s <= 0:
            raise ValueError(f"{self} is no ramp, expected 0 < half_s < full_s and 0 < centre_s")

    def turned(self, value: float, held: bool, seconds: float) -> float:
        """Return where the wheel is, from 0 to 1, so long after it was at ``value``; for times well below a ramp's."""
        if not held:
            return max(0.0, value - seconds / self.centre_s)
        half = 0.5 / self.half_s if value < 0.5 else 0.5 / (self.full_s - self.half_s)
        return min(1.0, value + seconds * half)


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Which keys drive, for games and systems without a virtual gamepad; names as pynput knows them, or a character.

    Attributes:
        left: Steers left.
        right: Steers right.
        throttle: Accelerates.
        brake: Brakes.
        pulse_s: The shortest time a key is held or let go of: more than one of the game's pictures takes, for it looks
            at the keyboard once a picture. The default is seen at 30 pictures a second.
        steering_ramp: How the game turns the wheel while a key is held; None: at once.
        others: Further axes of the table in ``agent.contract.controls`` that the game has, each with the key that
            moves it from neutral to its high end.
    """

    left: str = "left"
    right: str = "right"
    throttle: str = "up"
    brake: str = "down"
    pulse_s: float = 0.035
    steering_ramp: SteeringRamp | None = None
    others: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse one key for two things: it would do neither.

        Raises:
            GameError: Naming the key.
        """
        keys = [key.lower() for _, key, _ in self.pressed]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise GameError(f"the key {twice[0]!r} drives two things, expected a key of its own for each in [keys].")

    @property
    def pressed(self) -> tuple[tuple[str, str, float], ...]:
        """Every key that drives, with the axis it moves and which way: 1 to the high end, -1 to the low one."""
        return (
            ("steering", self.left, -1.0),
            ("steering", self.right, 1.0),
            ("throttle", self.throttle, 1.0),
            ("brake", self.brake, 1.0),
            *((name, key, 1.0) for name, key in self.others),
        )


@dataclass(frozen=True, slots=True)
class HotkeyMap:
    """The keys that a person gives orders with, whatever window has the focus; names as pynput knows them.

    Attributes:
        takeover: Takes the wheel while the network drives, and gives it back.
        start: Starts and stops an episode of ``record``.
        pause: Lets recording rest, and go on.
        discard: Takes back the last five seconds.
        mark: Marks a moment.
    """

    takeover: str = "f8"
    start: str = "f9"
    pause: str = "f10"
    discard: str = "f11"
    mark: str = "f12"

    def __post_init__(self) -> None:
        """Refuse one key for two orders.

        Raises:
            GameError: Naming the key.
        """
        keys = [getattr(self, entry.name).lower() for entry in fields(self)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise GameError(f"the key {twice[0]!r} gives two orders, expected a key of its own for each in [hotkeys].")


@dataclass(frozen=True, slots=True)
class Stuck:
    """When a car counts as stuck, and what is done about it.

    Attributes:
        action: ``wait`` with controls neutral; ``reverse`` by the brake; ``press`` a button or key, such as a game's
            rescue; ``reset`` the simulator, which a game that runs in this process has.
        after_s: How long the picture has to have hardly changed.
        least_change_per_s: Mean change of the picture's grey levels in a second, of 255, below which it hardly does.
        for_s: How long to wait, reverse or press.
        press: Which button of the pad, or key where keys drive.
        attempts: How often in a row; then the controls stay neutral until the picture changes.
        start_s: How long a car that has not moved yet may stand all the same: a countdown's picture hardly changes.
    """

    action: StuckAction = "wait"
    after_s: float = 4.0
    least_change_per_s: float = 5.0
    for_s: float = 1.5
    press: str = ""
    attempts: int = 3
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReturnMarks:
    """What the returns of a game's drives are measured by, in reports over many tracks.

    Attributes:
        good: A drive with more is a good one.
        poor: A drive with less is a poor one; at most ``good``.
    """

    good: float
    poor: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.good) and math.isfinite(self.poor) and self.poor <= self.good):
            raise GameError(
                f"good returns begin at {self.good}, poor ones end at {self.poor}, expected finite numbers, the good "
                "one not below the poor."
            )


@dataclass(frozen=True, slots=True)
class GameProfile:
    """One game.

    Attributes:
        name: Key on the command line.
        title: What to call it in front of people.
        rate_hz: Control rate demonstrations are recorded at.
        masks: Parts of the frame painted black before the network sees it.
        mirrored: Parts that each mirror about their own middle when a picture is flipped left to right for training
            (the scene, an instrument that swings both ways); the rest of the picture stays as it is. Empty if the
            game's pictures must not be flipped.
        notes: What was verified on a running game, and what was not.
        capture: Where its picture is; None for a game that runs in this process and hands its pictures over.
        controller: What moves its car: the virtual gamepad, or keys.
        pad: What lies where on the pad.
        keys: Which keys drive.
        model: Folder below ``model_weights`` with weights for it; empty if it is the game's own name.
        stuck: What to do about a car that gets nowhere; None does not watch for that.
        axes: What its car can do: names from the table in ``agent.contract.controls``. A network for it has an output
            for each unless it is told otherwise.
        returns: By what returns count as good or poor; None for a game that has no such marks.
        hotkeys: The keys that a person gives orders with.
    """

    name: str
    title: str
    rate_hz: float
    masks: tuple[Rectangle, ...] = ()
    mirrored: tuple[Rectangle, ...] = ()
    notes: str = ""
    capture: Capture | None = None
    controller: ControllerName = "gamepad"
    pad: PadMap = field(default_factory=PadMap)
    keys: KeyMap = field(default_factory=KeyMap)
    model: str = ""
    stuck: Stuck | None = None
    axes: tuple[str, ...] = STANDARD_AXES
    returns: ReturnMarks | None = None
    hotkeys: HotkeyMap = field(default_factory=HotkeyMap)

    @property
    def model_name(self) -> str:
        """The folder below ``model_weights`` with its weights."""
        return self.model or self.name


STEERING_AXES: tuple[SteeringAxis, ...] = get_args(SteeringAxis)
PEDAL_AXES: tuple[PedalAxis, ...] = get_args(PedalAxis)
BUTTONS: tuple[Button, ...] = get_args(Button)
CONTROLLERS: tuple[ControllerName, ...] = get_args(ControllerName)
STUCK_ACTIONS: tuple[StuckAction, ...] = get_args(StuckAction)
