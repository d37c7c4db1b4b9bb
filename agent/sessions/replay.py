"""Runs the network over a recorded episode, offline and deterministic; compares its predictions with stored ones."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.contract.controls import AXIS_NAMES, Controls
from agent.contract.durable import replace_file
from agent.contract.episodes.reading import Episode
from agent.contract.errors import EngineError, EpisodeError
from agent.contract.observation import Frame
from agent.contract.spec import WEIGHTS_FILE, ModelSpec
from agent.engines.base import Engine
from agent.engines.registry import Precision, find_engine
from agent.games.registry import find_game
from agent.observers.base import DrivenTick
from agent.policies.base import Decision, untimed
from agent.policies.network import driver_of
from agent.policies.stacked import policy_for
from agent.sessions.opening import Note, ignore, open_engine
from agent.sessions.pages import NamedDriver, page_of_drive
from agent.settings.replay import ReplaySettings
from agent.system.pacing import Tick, TickStats, clock_ns

STAGES = ("decode", "preprocess", "infer")

REFERENCE_FORMAT = "hoodcam-reference/1"
REFERENCE_DIGITS = 6  # decimals kept of a prediction; float32 near 1 has seven

TOLERANCES: dict[Precision, float] = {"f32": 1e-3, "bf16": 0.02, "int8": 0.1}
"""Largest difference of a prediction that still counts as the same network, by the precision of the computation.

On another processor or in another runtime, float32 rounds differently by 1e-5. For the shipped weights, on the
recording in ``tests/data``, bfloat16 differs from the reference by 0.007 and int8 by 0.04, both in the throttle.
"""


def tolerance_of(engine: str) -> float:
    """Return the tolerance for the engine of that name; for an unknown engine, the tolerance of float32."""
    try:
        return TOLERANCES[find_engine(engine).precision]
    except EngineError:
        return TOLERANCES["f32"]


Watch = Callable[[int, Frame, Decision, dict[str, float]], None]
"""Told of every row, its picture, the decision, and the seconds of the stages."""


def watch_nothing(row: int, frame: Frame, decision: Decision, sections_s: dict[str, float]) -> None:
    """Watch nothing."""


@dataclass(frozen=True, slots=True)
class OutputReport:
    """How one output compares with the recorded label.

    Attributes:
        mean_absolute_error: Error of the clipped prediction, in the label's unit.
        max_error: Largest absolute error.
        max_error_row: Row of the episode where it occurs.
        correlation: Pearson's, between clipped prediction and label; None if one of them never changes.
    """

    mean_absolute_error: float
    max_error: float
    max_error_row: int
    correlation: float | None


@dataclass(frozen=True, slots=True)
class StageReport:
    """Time of one stage over all frames.

    Attributes:
        median_ms: Milliseconds.
        p99_ms: Milliseconds.
    """

    median_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A network's predictions for an episode, with errors and times.

    Attributes:
        episode: File name of the episode.
        frames_sha256: Checksum of all decoded pixels and their shapes; it does not depend on the encoding.
        engine: The engine that ran the network.
        outputs: Reports by name of the output, in the order of the spec.
        stages: Reports by name of the stage: decode, preprocess, infer.
        predictions: float32, shape (rows, outputs): raw, not clipped.
    """

    episode: str
    frames_sha256: str
    engine: str
    outputs: dict[str, OutputReport]
    stages: dict[str, StageReport]
    predictions: npt.NDArray[np.float32]

    def to_json(self) -> str:
        """Return everything but the predictions as JSON text."""
        report = {
            "episode": self.episode,
            "frames": len(self.predictions),
            "frames_sha256": self.frames_sha256,
            "engine": self.engine,
            "outputs": {name: asdict(output) for name, output in self.outputs.items()},
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
        }
        return json.dumps(report, indent=2, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True)
class ReferenceComparison:
    """A comparison of predictions with stored ones.

    Attributes:
        tolerance: Largest difference allowed.
        max_difference: Largest difference found.
        row: Row of the episode where it was found.
        output: Output where it was found.
        predicted: The prediction there.
        expected: The stored prediction there.
        differing_rows: Rows in which any output differs by more than the tolerance.
        rows: Rows compared.
        reference: The weights, engine and preprocessing of the stored predictions.
    """

    tolerance: float
    max_difference: float
    row: int
    output: str
    predicted: float
    expected: float
    differing_rows: int
    rows: int
    reference: str

    @property
    def passed(self) -> bool:
        """Whether no prediction differs by more than the tolerance."""
        return self.max_difference <= self.tolerance

    @property
    def message(self) -> str:
        """The result in words, for people."""
        where = (
            f"largest difference {self.max_difference:.2g} at frame {self.row}, {self.output}: predicted "
            f"{self.predicted:.6f}, reference {self.expected:.6f} (tolerance {self.tolerance:g})"
        )
        if self.passed:
            return f"{self.rows} frames agree with the reference; {where}."
        return (
            f"{self.differing_rows} of {self.rows} frames differ from the reference; {where}. The reference was made "
            f"with {self.reference}: weights, engine or preprocessing have changed since. If that was meant, store "
            "a new reference."
        )


def replay(episode: Episode, engine: Engine, watch: Watch = watch_nothing) -> ReplayReport:
    """Run preprocessing and network over every frame of an episode.

    Args:
        episode: The recording.
        engine: Runs the network.
        watch: Called with every row, its picture, the decision, and the seconds of the stages.

    Returns:
        Errors against the recorded label, stage times, and the predictions.

    Raises:
        EpisodeError: If a frame cannot be read, or the episode lacks an axis that the network has an output for.
        ControlsError: If a prediction is NaN or infinite, or does not have one value for each output.
        EngineError: If the runtime fails.
    """
    outputs = engine.spec.output_names
    labels = episode.labels(outputs)
    policy = policy_for(engine)
    policy.decide(episode.frame(0), untimed)  # the first call compiles
    policy.reset()
    predictions = np.empty((len(episode), len(outputs)), np.float32)
    clipped = np.empty_like(predictions)
    stages_s = np.empty((len(episode), len(STAGES)))
    pixels_sum = hashlib.sha256()
    for row in range(len(episode)):
        started_s = time.perf_counter()
        frame = episode.frame(row)
        stages_s[row, 0] = time.perf_counter() - started_s
        decided = Tick(row, 0, 0, clock_ns)
        decision = policy.decide(frame, decided.section)
        prediction = decision.prediction
        stages_s[row, 1:] = [decided.sections_s[name] for name in STAGES[1:]]
        clipped[row] = Controls.from_prediction(prediction, outputs).clip().to_array(outputs)
        predictions[row] = prediction
        pixels_sum.update(repr(frame.pixels.shape).encode())
        pixels_sum.update(frame.pixels.tobytes())
        watch(row, frame, decision, decided.sections_s)
    stages_ms = stages_s * 1e3
    return ReplayReport(
        episode=episode.path.name,
        frames_sha256=pixels_sum.hexdigest(),
        engine=engine.name,
        outputs={name: _compare_output(clipped[:, column], labels[:, column]) for column, name in enumerate(outputs)},
        stages={
            name: StageReport(float(np.median(column)), float(np.percentile(column, 99)))
            for name, column in zip(STAGES, stages_ms.T, strict=True)
        },
        predictions=predictions,
    )


def save_reference(path: Path, report: ReplayReport, spec: ModelSpec) -> None:
    """Store the predictions of a replay as JSON, rounded to six decimals; replaces an earlier reference.

    Args:
        path: The file to write.
        report: The replay's report.
        spec: The weights' spec.

    Raises:
        EpisodeError: If the file cannot be written.
    """
    reference = {
        "format": REFERENCE_FORMAT,
        "episode": report.episode,
        "frames_sha256": report.frames_sha256,
        "model": spec.name,
        "weights_sha256": spec.sha256.get(WEIGHTS_FILE),
        "preprocessing": spec.preprocessing,
        "engine": report.engine,
        "outputs": list(report.outputs),
        "predictions": _rounded(report.predictions).tolist(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One frame per line: a change of a few predictions stays readable in a diff.
        text = json.dumps(reference, indent=1, allow_nan=False).replace("\n   ", " ").replace("\n  ]", " ]")
        replace_file(path, text + "\n")
    except OSError as exc:
        raise EpisodeError(
            f"{path} cannot be written ({exc.strerror or exc}), expected a file in a folder that you may write to. "
            "Choose another path for the reference."
        ) from exc


def compare_with_reference(path: Path, report: ReplayReport, tolerance: float | None = None) -> ReferenceComparison:
    """Compare a replay's predictions with stored ones.

    Args:
        path: A file written by :func:`save_reference`.
        report: The replay of the same episode.
        tolerance: Largest difference allowed in any prediction; None takes the tolerance of the report's engine.

    Returns:
        The largest difference and where it is; ``passed`` says whether it is allowed.

    Raises:
        ValueError: If the tolerance is negative or not a number.
        EpisodeError: If the reference is missing or unreadable, or was made from other frames.
    """
    tolerance = tolerance_of(report.engine) if tolerance is None else tolerance
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}, expected 0 or more")
    raw = _load_reference(path, tuple(report.outputs))
    if raw["frames_sha256"] != report.frames_sha256:
        raise EpisodeError(
            f"{path} was made from other frames (episode {raw['episode']}, SHA-256 {raw['frames_sha256'][:12]}…) than "
            f"{report.episode} holds ({report.frames_sha256[:12]}…): nothing can be compared. Pass the episode it was "
            "made from, or store a new reference."
        )
    expected = raw["predictions"]
    if expected.shape != report.predictions.shape:
        raise EpisodeError(
            f"{path} holds predictions of shape {expected.shape}, the replay made {report.predictions.shape}. "
            "The file is damaged; restore it or store a new reference."
        )
    predicted = _rounded(report.predictions)  # so that a tolerance of 0 compares exactly what is stored
    differences = np.abs(predicted - expected)
    row, column = (int(index) for index in np.unravel_index(np.argmax(differences), differences.shape))
    weights = raw["weights_sha256"]
    return ReferenceComparison(
        tolerance=tolerance,
        max_difference=float(differences[row, column]),
        row=row,
        output=list(report.outputs)[column],
        predicted=float(predicted[row, column]),
        expected=float(expected[row, column]),
        differing_rows=int((differences.max(axis=1) > tolerance).sum()),
        rows=len(expected),
        reference=f"model {raw['model']} (weights {weights[:12] + '…' if weights else 'without a checksum'}), "
        f"engine {raw['engine']}, preprocessing {raw['preprocessing']}",
    )


def _rounded(predictions: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.asarray(np.round(predictions.astype(np.float64), REFERENCE_DIGITS), np.float64)


def _load_reference(path: Path, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Read a reference file; ``predictions`` becomes float64, shape (rows, outputs)."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != REFERENCE_FORMAT or raw["outputs"] != list(outputs):
            raise ValueError(f"format {raw['format']!r} with outputs {raw['outputs']}")
        raw["predictions"] = np.array(raw["predictions"], np.float64)
        if raw["predictions"].shape[1:] != (len(outputs),) or not np.isfinite(raw["predictions"]).all():
            raise ValueError(f"predictions that are not {len(outputs)} finite numbers a frame")
        texts = [raw[name] for name in ("episode", "frames_sha256", "model", "engine", "preprocessing")]
        if not all(isinstance(text, str) for text in [*texts, raw["weights_sha256"] or ""]):
            raise TypeError("a name or checksum is not a text")
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError) as exc:
        raise EpisodeError(
            f"{path} cannot be read as a reference ({type(exc).__name__}: {exc}), expected {REFERENCE_FORMAT}. "
            "Restore it, or store a new one."
        ) from exc
    return dict(raw)


def _compare_output(predicted: npt.NDArray[np.float32], label: npt.NDArray[np.float32]) -> OutputReport:
    errors = np.abs(predicted.astype(np.float64) - label)
    row = int(np.argmax(errors))
    return OutputReport(float(errors.mean()), float(errors[row]), row, _correlation(predicted, label))


def _correlation(predicted: npt.NDArray[np.float32], label: npt.NDArray[np.float32]) -> float | None:
    if np.ptp(predicted) == 0 or np.ptp(label) == 0:
        return None
    correlation = float(np.corrcoef(predicted.astype(np.float64), label.astype(np.float64))[0, 1])
    return correlation if math.isfinite(correlation) else None


def replay_recording(settings: ReplaySettings, note: Note = ignore) -> tuple[ReplayReport, ReferenceComparison | None]:
    """Run the network over a recording, and store or compare its predictions, as ``python -m agent replay`` does.

    Args:
        settings: Which recording, and what to compare with.
        note: Called with notes for the user, one line at a time.

    Returns:
        The network's report, and the comparison with the reference if there is one.

    Raises:
        AgentError: If recording, network or reference cannot be read.
    """
    episode = Episode.open(settings.episode)
    if episode.recovered:
        note(episode.recovered)
    with closing(open_engine(settings, episode.header.game, note)) as engine:
        with _on_page(settings, episode, engine, note) as watch:
            report = replay(episode, engine, watch)
        spec = engine.spec
    if settings.write_reference is not None:
        save_reference(settings.write_reference, report, spec)
    if settings.reference is None:
        return report, None
    return report, compare_with_reference(settings.reference, report, settings.tolerance)


@contextmanager
def _on_page(settings: ReplaySettings, episode: Episode, engine: Engine, note: Note) -> Iterator[Watch]:
    """Give what shows the rows on a page, at the recording's own pace; shows nothing if no page is wanted."""
    if not settings.has_page:
        yield watch_nothing
        return
    header = episode.header
    axes = [axis for axis in header.axes if axis in AXIS_NAMES]
    labels, outputs = episode.labels(axes), engine.spec.output_names
    profile, title = find_game(header.game).profile, f"recording {episode.path.stem}"
    driver = NamedDriver(engine.name, driver_of(engine.spec), engine.spec)
    with page_of_drive(settings, settings, profile, driver, header.rate_hz, None, note, title) as page:
        assert page is not None
        with page.of(TickStats(1.0 / header.rate_hz), header.seed) as observer:
            first_ns = clock_ns()

            def watch(row: int, frame: Frame, decision: Decision, sections_s: dict[str, float]) -> None:
                due_ns = first_ns + int(episode.captured_ns[row] - episode.captured_ns[0])
                time.sleep(max(0, due_ns - clock_ns()) / 1e9)
                label = Controls.from_prediction(labels[row], axes)
                took_s, by_hand = sum(sections_s.values()), bool(episode.intervention[row])
                said = decision.observation, decision.prediction
                observer.on_tick(
                    DrivenTick(row, frame, *said, label, took_s, sections_s, due_ns, by_hand, None, outputs)
                )

            yield watch
