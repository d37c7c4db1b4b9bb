"""What the network sees, computed only while somebody looks: a layer's maps (Convcam), and what speaks for an output.

The page's process loads the network a second time, from the same files and in the same precision, and never uses more
than one thread for a third of the time.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.errors import AgentError
from agent.contract.observation import Observation, Pixels, newest_picture
from agent.engines.registry import find_engine
from agent.page.live import encode
from agent.page.records import Facts
from agent.page.viewers import EVIDENCE, MAPS, Viewer

if TYPE_CHECKING:
    from agent.engines.inside import Evidence, InsideNetwork, Maps

_REST = 2.0  # rests twice as long as it computed
_QUALITY = 88
_MOSAIC_PX = (1280, 720)
_FOR, _AGAINST = (46, 87, 228), (222, 134, 46)  # BGR: for more, for less
_log = logging.getLogger(__name__)

Source = Callable[[int | None], tuple[int, Observation] | None]
"""Returns the network's input of a tick, or the newest one (None), and its stamp."""


class Insight:
    """Computes what viewers ask for, in a thread of its own.

    Args:
        facts: The drive's facts.
        source: Where network inputs come from.
    """

    def __init__(self, facts: Facts, source: Source) -> None:
        self._facts = facts
        self._source = source
        self._network: InsideNetwork | None = None
        self._problem = ""
        self._threads = ThreadPoolExecutor(1, "insight")
        self._shown: dict[Viewer, tuple[object, ...]] = {}

    @property
    def is_possible(self) -> bool:
        """Whether there is a network to look into."""
        return bool(self._facts.folder)

    async def serve(self, viewers: Callable[[], Iterable[Viewer]]) -> None:
        """Look whenever a viewer wants to, until cancelled."""
        try:
            while True:
                started_s = time.monotonic()
                worked = await self._serve_once([each for each in viewers() if _asks(each)])
                await asyncio.sleep(_REST * (time.monotonic() - started_s) if worked else 0.1)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve_once(self, viewers: Sequence[Viewer]) -> bool:
        self._shown = {viewer: key for viewer, key in self._shown.items() if viewer in viewers}
        if not viewers or not self.is_possible:
            return False
        loop = asyncio.get_running_loop()
        if self._network is None and not self._problem:
            await loop.run_in_executor(self._threads, self._open)
        if self._network is None:
            for viewer in viewers:
                self._tell(viewer, ("problem",), {"type": "insight", "problem": self._problem})
            return False
        worked = False
        for viewer in viewers:
            if viewer not in self._shown:
                viewer.say({"type": "layers", "names": self._network.layers, "outputs": self._facts.outputs})
            found = self._source(viewer.at)
            key = (found and found[0], viewer.output, viewer.layer, viewer.wants)
            if found is None or self._shown.get(viewer) == key:
                continue
            self._shown[viewer] = key
            stamp, observation = found
            try:
                pictures = await loop.run_in_executor(self._threads, self._look, viewer, observation)
            except (AgentError, ValueError) as exc:
                viewer.say({"type": "insight", "problem": str(exc)})
                continue
            for kind, picture in pictures.items():
                viewer.show(kind, stamp, picture)
            worked = True
        return worked

    def _tell(self, viewer: Viewer, key: tuple[object, ...], message: dict[str, object]) -> None:
        if self._shown.get(viewer) != key:
            self._shown[viewer] = key
            viewer.say(message)

    def _open(self) -> None:
        from agent.engines.inside import InsideNetwork

        try:
            precision = find_engine(self._facts.engine).precision
            self._network = InsideNetwork(Path(self._facts.folder), precision)
        except Exception as exc:  # the page goes on without it
            self._problem = str(exc) if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}"
            _log.debug("no look into the network", exc_info=exc)

    def _look(self, viewer: Viewer, observation: Observation) -> dict[int, bytes]:
        assert self._network is not None
        layers = [viewer.layer] if viewer.layer else self._network.layers[-2:]
        output = viewer.output or self._facts.outputs[0]
        look = self._network.look(
            observation,
            layers if "maps" in viewer.wants else (),
            (output,) if "evidence" in viewer.wants else (),
        )
        pictures = {}
        if output in look.evidence:
            pictures[EVIDENCE] = encode(overlay(newest_picture(observation), look.evidence[output]), _QUALITY)
        if look.maps:
            pictures[MAPS] = encode(mosaic(list(look.maps.values())), _QUALITY)
        return pictures


def _asks(viewer: Viewer) -> bool:
    return bool(viewer.wants & {"evidence", "maps"})


def overlay(picture: Observation, evidence: "Evidence") -> Pixels:
    """Return a picture with the evidence on it: red speaks for more, blue for less, and the strongest is opaque.

    Args:
        picture: uint8, shape (height, width, 3), RGB.
        evidence: Of any output.

    Returns:
        uint8, shape (height, width, 3), BGR.
    """
    height, width = picture.shape[:2]
    most = float(np.abs(evidence.map).max()) or 1.0
    parts = cv2.resize(evidence.map / most, (width, height), interpolation=cv2.INTER_LINEAR)[..., np.newaxis]
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2BGR).astype(np.float32)
    colour = np.where(parts > 0, np.array(_FOR, np.float32), np.array(_AGAINST, np.float32))
    strength = 0.85 * np.abs(parts)
    return np.asarray(grey * (1 - strength) + colour * strength, np.uint8)


def mosaic(layers: "Sequence[Maps]") -> Pixels:
    """Return all maps of some layers as tiles, the strongest number of a layer white: uint8, BGR."""
    width, height = _MOSAIC_PX
    rows = [_tiles(each, width, height // len(layers)) for each in layers]
    grey = np.vstack([cv2.copyMakeBorder(each, 0, 2, 0, width - each.shape[1], cv2.BORDER_CONSTANT) for each in rows])
    return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), np.uint8)


def _tiles(maps: "Maps", width: int, height: int) -> npt.NDArray[np.uint8]:
    count, rows, columns = maps.shape
    # As many columns of tiles as make the tiles largest.
    across = max(1, min(count, round(math.sqrt(count * width * rows / (height * columns)))))
    down = math.ceil(count / across)
    scale = min((width / across - 1) / columns, (height / down - 1) / rows)
    size = max(1, int(columns * scale)), max(1, int(rows * scale))
    most = float(np.percentile(maps, 99.9)) or 1.0
    canvas = np.zeros((down * (size[1] + 1), across * (size[0] + 1)), np.uint8)
    scaled = (255 * np.sqrt(np.clip(maps / most, 0, 1))).astype(np.uint8)
    how = cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA
    for number in range(count):
        top, left = number // across * (size[1] + 1), number % across * (size[0] + 1)
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(scaled[number], size, interpolation=how)
    return canvas[:height, :width]
