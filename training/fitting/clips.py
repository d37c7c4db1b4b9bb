"""A small film of a drive for each stage of a training, for the page to show them side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

from agent.observers.base import TickObserver, TickRecord
from agent.observers.video import FilmFile, compose
from agent.page.runs import CLIPS

_EVERY = 5  # ticks: five pictures a second at 25 Hz
_MOST_PICTURES = 120  # 14 MB while it is driven, 0.2 s to compress
_WIDTH_PX = 200
_MOST_CLIPS = 24
_NEWEST = "newest.webp"


class ClipWriter(FilmFile):
    """Films the beginning of a drive, small and with few pictures a second.

    Args:
        path: The file to write.
        rate_hz: Ticks a second.
        axes: The axes of the game's car.
    """

    def __init__(self, path: Path, rate_hz: float, axes: Sequence[str]) -> None:
        super().__init__(path, rate_hz / _EVERY)
        self._axes = tuple(axes)
        self._ticks = 0

    def on_tick(self, record: TickRecord) -> None:
        if record.kind != "driven":
            return
        if self._ticks % _EVERY == 0 and self._ticks < _EVERY * _MOST_PICTURES:
            scale = min(1.0, _WIDTH_PX / record.frame.pixels.shape[1])
            self.write(compose(record.frame.pixels, record.controls, scale, self._axes))
        self._ticks += 1


def clip_of(
    run: Path, tracks: Sequence[int], rate_hz: float, axes: Sequence[str]
) -> Callable[[int], list[TickObserver]]:
    """Return what makes the observers of a track: the first track of a drive is filmed; see :func:`name_clip`.

    Args:
        run: The run's folder.
        tracks: Seeds of the tracks.
        rate_hz: Decisions a second.
        axes: The axes of the game's car.
    """
    path = run / CLIPS / _NEWEST

    def observers(seed: int) -> list[TickObserver]:
        if seed != tracks[0]:
            return []
        path.parent.mkdir(parents=True, exist_ok=True)
        return [ClipWriter(path, rate_hz, axes)]

    return observers


def name_clip(run: Path, step: float) -> None:
    """Name the newest clip after its stage; of many, the first and the newest ones are kept.

    Args:
        run: The run's folder.
        step: Steps done.

    Raises:
        OSError: If it cannot be renamed.
    """
    newest = run / CLIPS / _NEWEST
    if newest.exists():
        newest.replace(newest.with_name(f"{step:08.0f}.webp"))
        named = sorted(path for path in newest.parent.glob("*.webp") if path.stem.isdigit())
        for path in named[1 : max(1, len(named) - _MOST_CLIPS + 1)]:
            path.unlink()
