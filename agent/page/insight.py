"""What the network sees, computed only while somebody looks: a layer's maps (Convcam), and what speaks for an output.

The page's process loads the network a second time, from the same files and in the same precision, and never uses more
than one thread for a third of the time.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
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
from agent.page.records import Facts, Weights
from agent.page.viewers import EVIDENCE, MAPS, Viewer

if TYPE_CHECKING:
    from agent.engines.inside import Evidence, InsideNetwork, Maps

_REST = 2.0  # rests twice as long as it computed
_QUALITY = 88
_MOST_NETWORKS = 2
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
        weights: Returns the weights that drove at a tick, or the newest ones (None).
    """

    def __init__(self, facts: Facts, source: Source, weights: Callable[[int | None], Weights]) -> None:
        self._facts = facts
        self._source = source
        self._weights = weights
        self._networks: OrderedDict[Weights, InsideNetwork | str] = OrderedDict()  # or why there is none
        self._threads = ThreadPoolExecutor(1, "insight")
        self._shown: dict[Viewer, tuple[object, ...]] = {}
        self._told: dict[Viewer, Weights] = {}

    @property
    def is_possible(self) -> bool:
        """Whether there is a network to look into."""
        return bool(self._facts.folder or self._weights(None).folder)

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
        self._told = {viewer: weights for viewer, weights in self._told.items() if viewer in viewers}
        if not viewers or not self.is_possible:
            return False
        return any([await self._serve_viewer(viewer) for viewer in viewers])

    async def _serve_viewer(self, viewer: Viewer) -> bool:
        found = self._source(viewer.at)
        if found is None:
            return False
        stamp, observation = found
        weights = self._weights(stamp)
        key = (stamp, weights, viewer.output, viewer.layer, viewer.wants)
        if self._shown.get(viewer) == key:
            return False
        loop = asyncio.get_running_loop()
        network = await loop.run_in_executor(self._threads, self._open, weights)
        if isinstance(network, str):
            if self._told.get(viewer) != weights:
                self._told[viewer] = weights
                viewer.say({"type": "insight", "problem": network})
            return False
        self._shown[viewer] = key
        try:
            pictures = await loop.run_in_executor(self._threads, self._look, network, viewer, observation)
        except (AgentError, ValueError) as exc:
            viewer.say({"type": "insight", "problem": str(exc)})
            return False
        if self._told.get(viewer) != weights:
            self._told[viewer] = weights
            about = {"names": network.layers, "outputs": self._facts.outputs, "weights": weights.name}
            viewer.say({"type": "layers", **about})
        for kind, picture in pictures.items():
            viewer.show(kind, stamp, picture)
        return True

    def _open(self, weights: Weights) -> "InsideNetwork | str":
        """Return the network, or why there is none; two stay loaded: those before and after a swap."""
        if weights not in self._networks:
            self._networks[weights] = _load(weights)
        self._networks.move_to_end(weights)
        while len(self._networks) > _MOST_NETWORKS:
            self._networks.popitem(last=False)
        return self._networks[weights]

    def _look(self, network: "InsideNetwork", viewer: Viewer, observation: Observation) -> dict[int, bytes]:
        layers = [viewer.layer] if viewer.layer else network.layers[-2:]
        output = viewer.output or self._facts.outputs[0]
        look = network.look(
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


def _load(weights: Weights) -> "InsideNetwork | str":
    if not weights.folder:
        return f"the folder of {weights.name or 'the weights that drive now'} is not known: what they see is not shown"
    from agent.engines.inside import InsideNetwork

    try:
        return InsideNetwork(Path(weights.folder), find_engine(weights.engine).precision)
    except Exception as exc:  # the page goes on without it
        _log.debug("no look into the network", exc_info=exc)
        return str(exc) if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}"


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
