"""What is fuzzed: each parser of files that somebody else may have made, and what it may do at most.

A parser may return, or raise one of its documented errors with one printable line. Anything else is a failure: another
exception, more time or memory than is stated here, a file written outside the folder it was given.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Parser = Callable[[bytes, Path], None]
"""Parses bytes, with an empty folder of its own to put them in."""

SECTION = b"\n=====\n"
"""What lies between the files of a model folder in one input."""
MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    Attributes:
        name: On the command line, and of its corpus.
        load: Imports the parser and returns it with the errors it documents.
        modules: What the fuzzer measures coverage of.
        most_bytes: Largest input that is tried.
        most_s: Processor time for one input at most.
        most_mb: Growth of resident memory over the whole run at most.
        corpus: Name of the folder of its corpus, which two targets may share.
    """

    name: str
    load: Callable[[], tuple[Parser, tuple[type[Exception], ...]]]
    modules: tuple[str, ...]
    most_bytes: int
    most_s: float
    most_mb: int
    corpus: str


class Failure(Exception):
    """A parser did what it may not."""


class Watch:
    """Runs a target on one input after the other and checks what it may do.

    Args:
        target: Which.
        folder: An empty folder; the parser gets one inside it, beside a canary.

    Attributes:
        runs: Inputs parsed.
        accepted: Those that raised nothing.
        slowest_s: The longest that one took, in processor time.
        slowest: Which one that was.
        grown_mb: The most resident memory that one input took, at its peak, beyond what there was before it. What the
            making of inputs leaves behind is not the parser's.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._parse, self._errors = target.load()
        self._folder = folder
        self._inside = folder / "inside"
        self._inside.mkdir()
        (folder / "canary").write_bytes(b"canary")
        self._around = self._look_around()
        self.runs = self.accepted = 0
        self.slowest_s = 0.0
        self.slowest = b""
        self.grown_mb = 0.0

    def __call__(self, data: bytes) -> None:
        """Parse one input.

        Raises:
            Failure: If the parser did what it may not.
        """
        forget_peak()
        before_mb = peak_memory_mb()
        started = time.process_time()
        try:
            self._parse(data, self._inside)
            self.accepted += 1
        except self._errors as exc:
            said = str(exc).replace(str(self._inside), "")
            if not said.isprintable() or not 0 < len(said) <= MAX_MESSAGE:
                raise Failure(f"the message is not one short printable line: {said[:2000]!r}") from exc
        taken_s = time.process_time() - started
        self.runs += 1
        if self.runs > 1 and taken_s > self.slowest_s:  # the first one imports
            self.slowest_s, self.slowest = taken_s, data
        if self.runs > 1 and taken_s > self._target.most_s:
            raise Failure(f"it took {taken_s:.2f} s, expected {self._target.most_s:g} s at most")
        if self.runs > 1:
            self.grown_mb = max(self.grown_mb, peak_memory_mb() - before_mb)
        if self.grown_mb > self._target.most_mb:
            raise Failure(f"memory grew by {self.grown_mb:.0f} MB, expected {self._target.most_mb} MB at most")
        if self._look_around() != self._around:
            raise Failure("a file was written outside the folder")
        self._empty()

    def _look_around(self) -> list[tuple[str, int, int]]:
        return sorted(
            (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in os.scandir(self._folder)
            if entry.name != "inside"
        )

    def _empty(self) -> None:
        for path in self._inside.iterdir():
            path.unlink()


def forget_peak() -> None:
    """Have the largest resident memory count from now on, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Return this process' largest resident memory since it was last forgotten."""
    if sys.platform == "linux":
        (peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
        return int(peak.split()[1]) / 2**10
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _spec() -> tuple[Parser, tuple[type[Exception], ...]]:
    from agent.contract.errors import SpecError
    from agent.contract.spec import SPEC_FILE, ModelSpec

    def parse(data: bytes, folder: Path) -> None:
        (folder / SPEC_FILE).write_bytes(data)
        spec = ModelSpec.load(folder)
        if ModelSpec.from_json(spec.to_json()) != spec:
            raise Failure("a specification that was accepted does not survive being written")

    return parse, (SpecError,)


def _profile() -> tuple[Parser, tuple[type[Exception], ...]]:
    from agent.contract.errors import GameError
    from agent.games.profile_files import load_profile

    def parse(data: bytes, folder: Path) -> None:
        (folder / "game.toml").write_bytes(data)
        profile = load_profile(folder / "game.toml")
        if Path(profile.model_name).name != profile.model_name:
            raise Failure(f"the weights would be read from {profile.model_name}")

    return parse, (GameError,)


def _picture() -> tuple[Parser, tuple[type[Exception], ...]]:
    import numpy as np

    from agent.contract.errors import FrameError
    from agent.contract.picture_codec import MAX_PIXELS, decode_picture

    def parse(data: bytes, folder: Path) -> None:
        pixels = decode_picture(data)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size > 3 * MAX_PIXELS:
            raise Failure(f"a picture is {pixels.dtype} {pixels.shape}")

    return parse, (FrameError,)


def _graph() -> tuple[Parser, tuple[type[Exception], ...]]:
    from agent.contract.errors import WeightsError
    from agent.contract.spec import GRAPH_FILE, WEIGHTS_FILE
    from agent.engines.model_folder.graph import read_graph

    def parse(data: bytes, folder: Path) -> None:
        read_graph(folder / GRAPH_FILE, data, WEIGHTS_FILE)

    return parse, (WeightsError,)


def write_model_folder(data: bytes, folder: Path) -> None:
    """Write the files of a model folder from one input: spec, graph and weights.

    Checksums would stop nearly every change: where the spec says ``@network.onnx`` it gets that file's own.
    """
    from agent.contract.spec import GRAPH_FILE, SPEC_FILE, WEIGHTS_FILE

    spec, graph, weights = [*data.split(SECTION, 2), b"", b""][:3]
    for name, content in ((GRAPH_FILE, graph), (WEIGHTS_FILE, weights)):
        (folder / name).write_bytes(content)
        spec = spec.replace(b"@" + name.encode(), hashlib.sha256(content).hexdigest().encode())
    (folder / SPEC_FILE).write_bytes(spec)


def _model_folder() -> tuple[Parser, tuple[type[Exception], ...]]:
    from agent.contract.errors import SpecError, WeightsError
    from agent.engines.model_folder.opening import open_model_folder

    def parse(data: bytes, folder: Path) -> None:
        write_model_folder(data, folder)
        open_model_folder(folder)

    return parse, (SpecError, WeightsError)


def _engine() -> tuple[Parser, tuple[type[Exception], ...]]:
    import numpy as np

    from agent.contract.errors import EngineError, SpecError, WeightsError
    from agent.engines.onnxruntime import OnnxRuntimeEngine
    from agent.engines.openvino import OpenVinoEngine

    def parse(data: bytes, folder: Path) -> None:
        write_model_folder(data, folder)
        for load in (OpenVinoEngine, OnnxRuntimeEngine):
            engine = load(folder, threads=1)
            engine.infer(np.zeros((engine.spec.height_px, engine.spec.width_px, 3), np.uint8))
            engine.close()

    return parse, (SpecError, WeightsError, EngineError)


def _episode() -> tuple[Parser, tuple[type[Exception], ...]]:
    from agent.contract.episodes.columns import RECORDING_SUFFIX, SEALED_SUFFIX
    from agent.contract.episodes.reading import Episode
    from agent.contract.episodes.sealing import recover
    from agent.contract.errors import EpisodeError

    def parse(data: bytes, folder: Path) -> None:
        sealed = data.startswith(b"PAR1")
        path = folder / f"episode{SEALED_SUFFIX if sealed else RECORDING_SUFFIX}"
        path.write_bytes(data)
        failures = []
        episode = Episode.open(path)
        for index in range(min(len(episode), 3)):
            try:
                episode.frame(index)
            except EpisodeError as exc:
                failures.append(exc)
        if not sealed:
            del episode
            recover(path)
        if failures:
            raise failures[0]

    return parse, (EpisodeError,)


_FOLDER_MODULES = ("agent.contract.spec", "agent.engines", "json")
TARGETS = {
    target.name: target
    for target in (
        Target("spec", _spec, ("agent.contract", "json"), 4_000, 1.0, 100, "spec"),
        Target("profile", _profile, ("agent.games", "agent.contract", "tomllib"), 4_000, 2.0, 100, "profile"),
        Target("picture", _picture, ("agent.contract.picture_codec",), 4_000, 2.0, 500, "picture"),
        Target("graph", _graph, ("agent.engines",), 8_000, 1.0, 200, "graph"),
        Target("model-folder", _model_folder, _FOLDER_MODULES, 12_000, 1.0, 200, "model-folder"),
        Target("engine", _engine, _FOLDER_MODULES, 12_000, 10.0, 4_000, "model-folder"),
        Target("episode", _episode, ("agent.contract",), 80_000, 2.0, 500, "episode"),
    )
}
