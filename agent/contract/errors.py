"""Everything the outside world can do to us, as one tree.

::

    AgentError            shown as one line on stderr, exit code 1
    ├── FrameError        a frame has the wrong type or shape
    ├── ControlsError     a control is NaN or infinite, or a prediction has the wrong shape
    ├── SpecError         spec.json is missing, unreadable or disagrees with itself
    ├── WeightsError      weights or graph are missing, damaged or disagree with the spec
    ├── EngineError       an inference runtime is missing or cannot run the network
    ├── EpisodeError      a recording is unreadable, damaged or of another format
    ├── MeasurementError  a measurement could not be taken or drawn
    ├── ReportError       an evaluation's report is unreadable, or two of them cannot be compared
    ├── GameError         a game or profile is unknown, or the game process died
    ├── CaptureError      no frame could be had
    │   └── BlindError    ... at present; the next attempt may succeed
    │       └── FrozenError   ... because the picture stands still
    ├── ControllerError   the virtual gamepad is missing or went away
    ├── UnexpectedError   something in the program itself that it does not know
    └── TrainingError     data or settings no network can be trained from

A caller's own mistake (a negative rate passed to a constructor) is a ``ValueError``, not one of these.
Every message says what happened, what was expected and what to do.
"""


class AgentError(Exception):
    """Base of every error that is the world's doing rather than the caller's."""


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
    """A file is of another format or version, or may not be read: nothing says that it is damaged."""


class ReportError(AgentError):
    """An evaluation's report is unreadable, or two of them cannot be compared."""


class GameError(AgentError):
    """A game or game profile is unknown, or a running game went away."""


class CaptureError(AgentError):
    """A frame source cannot deliver frames."""


class BlindError(CaptureError):
    """There is no picture to drive by at present: minimised, black, frozen. The loop goes neutral and looks again.

    The message is the bare finding, to be put into a sentence.
    """


class FrozenError(BlindError):
    """The picture stands still: the game hangs, or nothing in it moves."""


class ControllerError(AgentError):
    """A controller cannot reach the game."""


class UnexpectedError(AgentError):
    """The program itself failed while driving, in a way that it does not know; its ``__cause__`` says how."""


class TrainingError(AgentError):
    """Data or settings from which no network can be trained."""
