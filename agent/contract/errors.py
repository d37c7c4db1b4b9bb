"""Every error that the outside world can cause, as one tree.

::

    AgentError            shown as one line on stderr, exit code 1
    ├── FrameError        a frame has the wrong type or shape
    ├── ControlsError     a control is NaN or infinite, or a prediction has the wrong shape
    ├── SpecError         spec.json is missing, unreadable or contradicts itself
    ├── WeightsError      weights or graph are missing, damaged or disagree with the spec
    ├── EngineError       an inference runtime is missing or cannot run the network
    ├── EpisodeError      a recording is unreadable, damaged or of another format
    ├── MeasurementError  a measurement could not be taken or drawn
    ├── ReportError       an evaluation's report is unreadable, or two of them cannot be compared
    ├── GameError         a game or profile is unknown, or the game process died
    ├── CaptureError      no frame can be captured
    │   └── BlindError    ... at the moment; the next attempt may succeed
    │       └── FrozenError   ... because the picture stands still
    ├── ControllerError   the virtual gamepad is missing or was removed
    ├── UnexpectedError   a fault in the program itself
    └── TrainingError     no network can be trained from these data or settings

A caller's own mistake (a negative rate passed to a constructor) is a ``ValueError``, not one of these.
Every message says what happened, what was expected and what to do.
"""


class AgentError(Exception):
    """Base of every error that the outside world causes, not the caller."""


class FrameError(AgentError):
    """A frame is not uint8 with three or four channels, or is empty."""


class ControlsError(AgentError):
    """A control value is NaN or infinite, or a prediction has the wrong shape."""


class SpecError(AgentError):
    """A model specification is missing, unreadable or inconsistent."""


class WeightsError(AgentError):
    """Weights or network graph are missing, damaged or disagree with their specification."""


class EngineError(AgentError):
    """An inference runtime is not installed or cannot run the network."""


class MeasurementError(AgentError):
    """A measurement could not be taken, or its picture not drawn or written."""


class EpisodeError(AgentError):
    """A recorded episode is unreadable, damaged or of an unknown format."""


class ForeignEpisodeError(EpisodeError):
    """A file has another format or version, or may not be read; it is not known to be damaged."""


class ReportError(AgentError):
    """An evaluation's report is unreadable, or two of them cannot be compared."""


class GameError(AgentError):
    """A game or game profile is unknown, or a running game went away."""


class CaptureError(AgentError):
    """A frame source cannot deliver frames."""


class BlindError(CaptureError):
    """There is no usable picture at the moment: the window is minimised, black or frozen.

    The loop sends neutral controls and tries again. The message is a phrase that fits into a sentence.
    """


class FrozenError(BlindError):
    """The picture stands still: the game hangs, or nothing in it moves."""


class ControllerError(AgentError):
    """A controller cannot reach the game."""


class UnexpectedError(AgentError):
    """The program itself failed while driving, in a way that it does not handle; ``__cause__`` is the error."""


class TrainingError(AgentError):
    """No network can be trained from these data or settings."""
