"""A recorded episode in place of a screen."""

from types import TracebackType
from typing import Self

from agent.contract.episodes.reading import Episode
from agent.contract.errors import CaptureError, EpisodeError
from agent.contract.observation import Frame


class ReplaySource:
    """Delivers an episode's frames in order, one each read, with the times and numbers they were recorded with.

    Deterministic: it knows no clock. Entering starts from the first frame again.

    Args:
        episode: What to replay.
    """

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self._row = 0

    def __enter__(self) -> Self:
        self._row = 0
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    @property
    def finished(self) -> bool:
        """Whether all frames have been read."""
        return self._row >= len(self._episode)

    def read(self) -> Frame:
        """Return the next frame: uint8, shape (height, width, 3), BGR.

        Raises:
            CaptureError: If the episode is over, or damaged at this row.
        """
        if self.finished:
            raise CaptureError(
                f"{self._episode.path} has ended after {len(self._episode)} frames, expected no further read. "
                "Stop when `finished` is true."
            )
        try:
            frame = self._episode.frame(self._row)
        except EpisodeError as exc:
            raise CaptureError(str(exc)) from exc
        self._row += 1
        return frame
