"""An occlusion map of one picture, when a viewer asks for it: one at a time, in a thread that yields to all others."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from agent.contract.errors import AgentError
from agent.contract.observation import Observation
from agent.engines.base import Engine
from agent.engines.occlusion import PASSES, changes, draw_change, refuse_stacks
from agent.engines.registry import Precision, find_engine, load_engine
from agent.page.insight import Source
from agent.page.live import encode
from agent.page.records import Facts, Weights
from agent.page.viewers import OCCLUSION, Viewer

_REST = 1.0  # rests as long as it computed: somebody waits for it, for minutes if the network is large
_QUALITY = 88
_TOLD_EVERY_S = 0.3
_ENGINES: dict[Precision, str] = {"f32": "openvino", "bf16": "openvino-bf16", "int8": "openvino-int8"}
_log = logging.getLogger(__name__)


def open_engine(weights: Weights) -> Engine:
    """Load the weights, in the precision that they drive in, for one thread.

    Raises:
        AgentError: If they cannot be used.
    """
    if not weights.folder:
        raise AgentError(f"the folder of {weights.name or 'the weights that drive now'} is not known.")
    return load_engine(_ENGINES[find_engine(weights.engine).precision], Path(weights.folder), 1)


class Coverer:
    """Covers each part of a picture in turn.

    Args:
        facts: The drive's facts.
        source: Where network inputs come from.
        weights: Returns the weights that drove at a tick.
        is_there: Returns whether a viewer still looks; called in another thread.
        open_engine: Loads weights.
        rest: Waits for seconds.
    """

    def __init__(
        self,
        facts: Facts,
        source: Source,
        weights: Callable[[int | None], Weights],
        is_there: Callable[[Viewer], bool],
        open_engine: Callable[[Weights], Engine] = open_engine,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._facts = facts
        self._source = source
        self._weights = weights
        self._is_there = is_there
        self._open = open_engine
        self._rest = rest
        self._threads = ThreadPoolExecutor(1, "occlusion")
        self._job: _Job | None = None
        self._task: asyncio.Task[None] | None = None

    def hear(self, viewer: Viewer, wish: object, output: object) -> None:
        """Act on a viewer's wish: a tick's number asks for the map of its picture, false ends what it asked for.

        Args:
            viewer: Who asks, and is told.
            wish: The tick, or false.
            output: Name of the output; anything else is the first one.
        """
        if wish is False:
            if self._job is not None and self._job.viewer is viewer:
                self._job.is_wanted = False
            return
        if type(wish) is not int:
            return _refuse(viewer, "an occlusion map is made of one picture, expected the page to be paused: pause it.")
        if self._job is not None:
            done = f"{self._job.done} of {PASSES} passes are done"
            return _refuse(viewer, f"a map is being computed already ({done}), expected one at a time. Ask again soon.")
        found = self._source(wish)
        if found is None:
            return _refuse(viewer, "there is no picture of that tick any more, expected one of the last 30 s.")
        stamp, observation = found
        chosen = output if output in self._facts.outputs else self._facts.outputs[0] if self._facts.outputs else ""
        self._job = _Job(viewer, stamp, observation, self._weights(stamp), str(chosen))
        self._task = asyncio.get_running_loop().create_task(self._work(self._job))

    def close(self) -> None:
        """End everything."""
        if self._job is not None:
            self._job.is_wanted = False
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _work(self, job: "_Job") -> None:
        loop = asyncio.get_running_loop()

        def tell(done: int) -> None:
            loop.call_soon_threadsafe(job.viewer.say, {"type": "occlusion", "done": done, "of": PASSES})

        tell(0)
        try:
            picture, largest = await loop.run_in_executor(self._threads, self._compute, job, tell)
        except _NotWanted:
            _refuse(job.viewer, "stopped")
        except Exception as exc:  # told in the page, whatever it is
            _log.debug("no occlusion map", exc_info=exc)
            _refuse(job.viewer, str(exc) if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}")
        else:
            about = {"at": job.stamp, "output": job.output, "largest": largest, "weights": job.weights.name}
            job.viewer.say({"type": "occlusion", "done": PASSES, "of": PASSES, **about})
            job.viewer.show(OCCLUSION, job.stamp, picture)
        finally:
            self._job = None

    def _compute(self, job: "_Job", tell: Callable[[int], None]) -> tuple[bytes, float]:
        """Return the map as JPEG, and the largest change; called in the thread."""
        told_s = started_s = time.monotonic()

        def advance() -> None:
            nonlocal told_s, started_s
            job.done += 1
            if not (job.is_wanted and self._is_there(job.viewer)):
                raise _NotWanted
            now_s = time.monotonic()
            if now_s - told_s >= _TOLD_EVERY_S:
                told_s = now_s
                tell(job.done)
            self._rest(_REST * (now_s - started_s))
            started_s = time.monotonic()

        with closing(self._open(job.weights)) as engine:
            refuse_stacks(engine.spec)
            _, change = changes(job.observation, engine.infer, advance)
            of_output = change[:, :, engine.spec.output_names.index(job.output)]
        return encode(draw_change(job.observation, of_output), _QUALITY), float(of_output.max())


@dataclass(slots=True)
class _Job:
    viewer: Viewer
    stamp: int
    observation: Observation
    weights: Weights
    output: str
    done: int = field(default=0, init=False)
    is_wanted: bool = field(default=True, init=False)


class _NotWanted(Exception):
    """Nobody waits for the map any more."""


def _refuse(viewer: Viewer, problem: str) -> None:
    viewer.say({"type": "occlusion", "problem": problem})
