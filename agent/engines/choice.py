"""The fastest engine here: measured once for a model and machine, then remembered."""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from agent.contract.durable import replace_file
from agent.contract.errors import EngineError
from agent.contract.spec import INT8_GRAPH_FILE, WEIGHTS_FILE, ModelSpec
from agent.engines.base import Engine
from agent.engines.registry import EngineEntry, Precision, find_engines
from agent.system.plugins import reason_of

MEMORY_FILE = "engines.json"
_FASTEST_FIRST: tuple[Precision, ...] = ("int8", "bf16", "f32")
_WARM_PASSES, _TIMED_PASSES = 2, 5


def candidates(spec: ModelSpec, on_broken: Callable[[str], None] = lambda line: None) -> tuple[EngineEntry, ...]:
    """Return the engines that `auto` may choose for this model, probably the fastest first.

    ``EngineEntry.automatic`` decides which ones.

    Args:
        spec: The model's spec.
        on_broken: Receives one line for each engine of another package that cannot be loaded.
    """
    found = [entry for entry in find_engines(on_broken) if _may_offer(entry, spec, on_broken)]
    return tuple(sorted(found, key=lambda entry: _FASTEST_FIRST.index(entry.precision)))


def _may_offer(entry: EngineEntry, spec: ModelSpec, on_broken: Callable[[str], None]) -> bool:
    try:
        if entry.precision not in _FASTEST_FIRST:
            raise ValueError(f"its precision is {entry.precision!r}, expected one of {', '.join(_FASTEST_FIRST)}")
        return entry.automatic(spec)
    except Exception as exc:
        if not entry.package:
            raise
        on_broken(f"the engine {entry.name} of {entry.package} cannot be asked ({reason_of(exc)}); it is left out")
        return False


def choose_engine(
    spec: ModelSpec,
    threads: int | None,
    load: Callable[[str], Engine],
    say: Callable[[str], None],
    memory: Path | None = None,
) -> Engine:
    """Load the fastest engine that runs a model here.

    Each candidate is loaded, timed over a few passes and closed, which takes a second or two in all. The result is kept
    in the user's cache folder. It is valid until the weights, a runtime's version, the processors or the threads
    change.

    Args:
        spec: The model's spec.
        threads: Threads asked for on the command line; remembered with the result.
        load: Loads an engine by name.
        say: Receives one line: the chosen engine and why, and the engines that do not run here and why.
        memory: File of remembered choices; None for the user's cache folder.

    Raises:
        EngineError, ImportError: If no candidate runs; the message is that of the last one.
        WeightsError: If a file of a candidate is damaged.
    """
    memory = user_cache_path("hoodcam") / MEMORY_FILE if memory is None else memory
    entries = candidates(spec, say)
    key = _key(spec, entries, threads)
    remembered = _recall(memory).get(key)
    if remembered is not None and any(entry.name == remembered for entry in entries):
        try:
            return load(remembered)
        except (EngineError, ImportError):
            pass  # it ran then but does not run now: measure again
    times_ms: dict[str, float] = {}
    failures: dict[str, Exception] = {}
    for entry in entries:
        if entry.replaced_by in times_ms:
            continue
        try:
            engine = load(entry.name)
            with closing(engine):
                times_ms[entry.name] = _time_pass_ms(engine)
        except (EngineError, ImportError) as exc:
            failures[entry.name] = exc
        except Exception as exc:
            if not entry.package:  # a fault of our own is not hidden
                raise
            failures[entry.name] = exc
    if not times_ms:
        raise list(failures.values())[-1]
    order = sorted(times_ms, key=lambda name: times_ms[name])
    measured = ", ".join(f"{name} {times_ms[name]:.0f} ms" for name in order)
    problem = _remember(memory, key, order[0])
    kept = f"remembered in {memory}" if problem is None else f"not remembered: {memory} cannot be written ({problem})"
    missing = "".join(f"; {name} does not run: {failure}" for name, failure in failures.items())
    say(f"{order[0]} is the fastest engine here (a pass: {measured}); {kept}{missing}")
    return load(order[0])


def _time_pass_ms(engine: Engine) -> float:
    observation = np.full(engine.spec.observation_shape, 128, np.uint8)
    times_s = []
    for _ in range(_WARM_PASSES + _TIMED_PASSES):
        started = time.perf_counter()
        engine.infer(observation)
        times_s.append(time.perf_counter() - started)
    return float(np.median(times_s[_WARM_PASSES:])) * 1e3


def _key(spec: ModelSpec, entries: Sequence[EngineEntry], threads: int | None) -> str:
    weights = [spec.sha256.get(name, "")[:16] for name in (WEIGHTS_FILE, INT8_GRAPH_FILE)]
    packages = dict.fromkeys(package for entry in entries for package in entry.packages)
    versions = [f"{package} {_version(package)}" for package in packages]
    names = [entry.name for entry in entries]
    return " | ".join([*weights, *versions, *names, f"{os.cpu_count()} processors", f"threads {threads}"])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _recall(memory: Path) -> dict[str, str]:
    try:
        raw = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # nothing remembered yet, or the file is damaged: measuring again takes a second
    return raw if isinstance(raw, dict) else {}


def _remember(memory: Path, key: str, name: str) -> str | None:
    """Remember a choice; return the reason if it could not be saved."""
    known = dict(list(_recall(memory).items())[-20:]) | {key: name}
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        replace_file(memory, json.dumps(known, indent=1), sync=False)
    except OSError as exc:  # a read-only home: the engines are measured at every start
        return exc.strerror or str(exc)
    return None
