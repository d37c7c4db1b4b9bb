"""A game's facts as plain data: where its picture is, what to hide in it, the control rate, and what its pad does."""

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
"""Where a pedal can lie: a trigger, half of a stick, or a button. A button is down from half a pedal on."""

ControllerName = Literal["gamepad", "keyboard"]
"""What moves a car."""

StuckAction = Literal["wait", "forward", "reverse", "press", "reset"]
"""What is done about a car that is stuck; see :class:`Stuck`."""

MAX_DEAD_ZONE = 0.9
"""The largest dead zone. A larger one would leave hardly anything of the axis."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A part of a frame, as fractions of the frame's size, so that it fits every resolution.

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
            raise GameError(
                f"rectangle {values} has a value that is not a finite number, expected fractions from 0 to 1."
            )
        beyond = self.left + self.width > 1 or self.top + self.height > 1
        if beyond or min(self.left, self.top) < 0 or min(self.width, self.height) <= 0:
            raise GameError(
                f"rectangle {values} leaves the frame or is empty, expected (left, top, width, height) as fractions "
                "from 0 to 1."
            )


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a screen or a window in pixels, everywhere in the order left, top, width, height.

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
        """Return this region in the coordinates of ``outer``, clipped to ``outer``.

        The region's own coordinates count from the top left corner of ``outer``.

        Raises:
            GameError: If no part of it is inside.
        """
        left, top = outer.left + self.left, outer.top + self.top
        right = min(left + self.width, outer.left + outer.width)
        bottom = min(top + self.height, outer.top + outer.height)
        left, top = max(left, outer.left), max(top, outer.top)
        if right <= left or bottom <= top:
            raise GameError(
                f"region {self} lies outside of the {outer.width} x {outer.height} px of its screen or window, "
                "expected a part of it. Give another --region, or change the game's window size."
            )
        return Region(left, top, right - left, bottom - top)


MSS = "mss"
"""The grabber that is installed with the agent."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Where a game's picture is.

    Attributes:
        window: Part of its window's title, in upper or lower case; None captures a monitor.
        monitor: Number of the monitor, from 1; used if no window is named.
        region: Part of the window's inside, or of the monitor; None takes all of it.
        needs_focus: Whether to drive only while the window has the focus. Otherwise keys would go to another program,
            and many games ignore the pad or pause.
        grabber: Name of the grabber that reads its pixels, see ``agent.capture.registry``.
    """

    window: str | None = None
    monitor: int = 1
    region: Region | None = None
    needs_focus: bool = True
    grabber: str = MSS


@dataclass(frozen=True, slots=True)
class PadMap:
    """Which axis lies where on the virtual gamepad.

    A dead zone is the smallest deflection that the game reacts to, as a share of the axis. Predictions are mapped onto
    the part beyond it (an inverse dead zone), so that a small prediction has a small effect instead of none.

    Attributes:
        steering: Axis of the steering.
        throttle: Where the throttle lies.
        brake: Where the brake lies.
        steering_dead_zone: [0, 0.9].
        throttle_dead_zone: [0, 0.9].
        brake_dead_zone: [0, 0.9].
        steering_slew_per_s: How fast the stick may move, full deflections a second; None lets it jump.
        others: Further axes of the table in ``agent.contract.controls`` that the game has, each with its place on the
            pad; without a dead zone.
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
        """Every axis that the pad moves, with its place and its dead zone."""
        return (
            ("steering", self.steering, self.steering_dead_zone),
            ("throttle", self.throttle, self.throttle_dead_zone),
            ("brake", self.brake, self.brake_dead_zone),
            *((name, place, 0.0) for name, place in self.others),
        )


@dataclass(frozen=True, slots=True)
class SteeringRamp:
    """How a game turns the wheel: gradually while a key is held, and gradually back while none is.

    Attributes:
        half_s: Seconds from the centre to half of full lock.
        full_s: Seconds from the centre to full lock.
        centre_s: Seconds from full lock back to the centre.
    """

    half_s: float
    full_s: float
    centre_s: float

    def __post_init__(self) -> None:
        if not 0 < self.half_s < self.full_s or self.centre_s <= 0:
            raise ValueError(f"{self} is no ramp, expected 0 < half_s < full_s and 0 < centre_s")

    def turned(self, value: float, held: bool, seconds: float) -> float:
        """Return where the wheel is, from 0 to 1, this many seconds after it was at ``value``.

        The result is good for times well below the ramp's.
        """
        if not held:
            return max(0.0, value - seconds / self.centre_s)
        half = 0.5 / self.half_s if value < 0.5 else 0.5 / (self.full_s - self.half_s)
        return min(1.0, value + seconds * half)


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Which keys drive, for games and systems without a virtual gamepad; each is a pynput name or a character.

    Attributes:
        left: Steers left.
        right: Steers right.
        throttle: Accelerates.
        brake: Brakes.
        pulse_s: The shortest time for which a key is held or released. It must be longer than one of the game's
            pictures, because a game reads the keyboard once a picture. The default suits 30 pictures a second.
        steering_ramp: How the game turns the wheel while a key is held; None if it turns at once.
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
        """Refuse a key that has two uses: it could serve neither. Names are in small letters from then on.

        Raises:
            GameError: Naming the key.
        """
        for name in ("left", "right", "throttle", "brake"):
            object.__setattr__(self, name, getattr(self, name).lower())
        object.__setattr__(self, "others", tuple((axis, key.lower()) for axis, key in self.others))
        keys = [key for _, key, _ in self.pressed]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise GameError(f"the key {twice[0]!r} drives two things, expected a key of its own for each in [keys].")

    @property
    def pressed(self) -> tuple[tuple[str, str, float], ...]:
        """Every key that drives, with its axis and its direction: 1 to the high end, -1 to the low end."""
        return (
            ("steering", self.left, -1.0),
            ("steering", self.right, 1.0),
            ("throttle", self.throttle, 1.0),
            ("brake", self.brake, 1.0),
            *((name, key, 1.0) for name, key in self.others),
        )


@dataclass(frozen=True, slots=True)
class HotkeyMap:
    """The keys for a person's commands, heard in whichever window has the focus; pynput names.

    Attributes:
        takeover: Takes the wheel while the network drives, and gives it back.
        start: Starts and stops an episode of ``record``.
        pause: Pauses and resumes a recording.
        discard: Deletes the last five seconds.
        mark: Marks a moment.
        keep: Keeps the last 30 s of a drive that has a page.
    """

    takeover: str = "f8"
    start: str = "f9"
    pause: str = "f10"
    discard: str = "f11"
    mark: str = "f12"
    keep: str = "insert"  # no browser and few games use it; Alt+F4 or F5 would have other effects as well

    def __post_init__(self) -> None:
        """Refuse a key that has two commands.

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
        action: ``wait`` with neutral controls; ``forward`` with the throttle, and the steering that the network wants,
            for a network that brakes where the car stands; ``reverse`` with the brake; ``press`` a button or key, such
            as a game's rescue key; ``reset`` the simulator, for a game that runs in this process.
        after_s: The car counts as stuck once the picture has hardly changed for this many seconds.
        least_change_per_s: Mean change of the picture's grey levels (0 to 255) in a second; less counts as hardly any.
        for_s: How many seconds to wait, drive forward, reverse or press.
        press: The button of the pad, or the key if keys drive.
        attempts: Attempts in a row; after them, the controls stay neutral until the picture changes.
        start_s: How long a car that has not moved yet may stand still: the picture hardly changes in a countdown.
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
    """The limits for good and poor returns of a game's drives, for reports over many tracks.

    Attributes:
        good: A drive with a higher return is good.
        poor: A drive with a lower return is poor; at most ``good``.
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
        name: Its name on the command line.
        title: Its name in texts for people.
        rate_hz: Control rate of its recordings.
        masks: Parts of the frame painted black before the network sees it.
        mirrored: Parts that each mirror about their own middle when a picture is flipped left to right for training
            (the scene, an instrument that swings both ways); the rest of the picture stays as it is. Empty if the
            game's pictures must not be flipped.
        notes: What was verified on a running game, and what was not.
        capture: Where its picture is; None for a game that runs in this process and returns its pictures.
        controller: What moves its car: the virtual gamepad, or keys.
        pad: Which axis lies where on the pad.
        keys: Which keys drive.
        model: Folder below ``model_weights`` with weights for it; empty if the folder has the game's name.
        stuck: What to do about a stuck car; None if nothing watches for it.
        axes: The axes of its car: names from the table in ``agent.contract.controls``. By default, a network for it
            has one output for each.
        returns: The limits for good and poor returns; None for a game without such limits.
        hotkeys: The keys for a person's commands.
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
