"""The grabbers, which read pixels off the screen, by the names that profiles and the command line use.

Another package adds a grabber by an entry point of the group ``hoodcam.grabbers``. The entry point has the grabber's
name. Its object opens a grabber when called without arguments; a class that implements
:class:`agent.capture.base.Grabber` does that::

    [project.entry-points."hoodcam.grabbers"]
    fast = "fast_grabber:FastGrabber"
"""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.contract.errors import AgentError, CaptureError
from agent.contract.profile import MSS
from agent.system.plugins import find_plugins, load_plugin, package_of, reason_of

if TYPE_CHECKING:
    from agent.capture.base import Grabber

GROUP = "hoodcam.grabbers"
"""The group of the entry points."""
DXCAM = "dxcam"
"""Our second grabber; there is none of the kind outside of Windows."""


def _built_in() -> tuple[str, ...]:
    return (MSS, DXCAM) if sys.platform == "win32" else (MSS,)


def grabber_names() -> tuple[str, ...]:
    """Return the names of all grabbers, those of other packages last; other packages are not imported."""
    return (*_built_in(), *(name for name in find_plugins(GROUP) if name not in _built_in()))


def open_grabber(name: str) -> "Grabber":
    """Open the grabber of that name.

    Raises:
        CaptureError: If the name is unknown, another package's grabber cannot be loaded, or the screen cannot be
            opened.
    """
    if name == MSS:
        from agent.capture.mss import MssGrabber

        return MssGrabber()
    if name == DXCAM and name in _built_in():
        from agent.capture.dxcam import DxcamGrabber

        return DxcamGrabber()
    plugins = find_plugins(GROUP)
    if name not in plugins:
        raise CaptureError(
            f"the grabber {name!r} is unknown, expected one of {', '.join(grabber_names())}. Install the package that "
            "has it, or leave it out of the profile."
        )
    plugin = plugins[name]
    maker: Callable[[], Grabber] = load_plugin(plugin, Callable, CaptureError)  # type: ignore[arg-type]
    try:
        return maker()
    except AgentError:
        raise
    except Exception as exc:
        raise CaptureError(
            f"the grabber {name} of {package_of(plugin)} cannot be opened ({reason_of(exc)}). Update that "
            f"package, or use {MSS}."
        ) from exc


class GrabberChoices:
    """The names for a command line's option; entry points of other packages are read only when they are needed."""

    def __contains__(self, name: object) -> bool:
        return name in _built_in() or name in find_plugins(GROUP)

    def __iter__(self) -> Iterator[str]:
        return iter(grabber_names())
