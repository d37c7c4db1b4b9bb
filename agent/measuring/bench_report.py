"""The results of a benchmark: summaries, tables, a picture."""

import importlib.metadata
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from agent.contract.errors import EngineError, MeasurementError
from agent.engines.registry import EngineEntry

if TYPE_CHECKING:
    from rich.console import RenderableType

STAGES = ("capture", "preprocess", "infer", "map", "send")
SCREEN_WIDTH_PX, SCREEN_HEIGHT_PX = 1280, 720

_PLOTTED = (("capture", "preprocess"), ("infer",), ("map", "send"))


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of a duration, in seconds."""

    median_s: float
    p90_s: float
    p99_s: float

    @classmethod
    def of(cls, durations_s: npt.NDArray[np.float64]) -> Self:
        """Return the percentiles of at least one duration."""
        return cls(*(float(value) for value in np.percentile(durations_s, (50, 90, 99))))


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """The results of one engine.

    Attributes:
        name: Its name on the command line.
        stages: Times by stage, ``infer`` among them.
        decision: Time of all stages together: from a full screen to three controls.
        decisions_per_s: Decisions a second, one after the other without pause.
        startup_s: From the start of a process to its first decision: Python, imports, loading, a forward pass.
        peak_memory_mb: Largest resident memory of that process; None if the system does not report it.
        installed_mb: Size of the packages that it runs on, with their requirements; None if none is installed.
        limit_share: Multiply-adds a second of the median forward pass as a share of OpenVINO's best in the engine's
            precision, see ``agent.measuring.peak``; None if that is unknown.
        game_frames_per_s: Pictures a second of the game beside it; None without a game.
    """

    name: str
    stages: dict[str, Spread]
    decision: Spread
    decisions_per_s: float
    startup_s: float
    peak_memory_mb: float | None
    installed_mb: float | None
    limit_share: float | None
    game_frames_per_s: float | None


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All results of one benchmark.

    Attributes:
        model: Name of the weights.
        multiply_adds: Multiply-adds of one forward pass.
        peak_per_s: Multiply-adds a second that OpenVINO reaches here at best, by precision.
        rounds: Turns of each engine.
        passes: Timed decisions of one turn.
        threads: Threads asked for; None left the number to the engines.
        engines: The engines' results, in the order of their turns.
        baselines: Names of the engines that the others are compared with.
        skipped: By name, why an engine was left out.
        game_alone_frames_per_s: Pictures a second of the game before the first turn; None without a game.
    """

    model: str
    multiply_adds: int
    peak_per_s: dict[str, float]
    rounds: int
    passes: int
    threads: int | None
    engines: tuple[EngineTimes, ...]
    baselines: tuple[str, ...]
    skipped: dict[str, str]
    game_alone_frames_per_s: float | None

    def floor_s(self, precision: str) -> float:
        """Return how long the multiply-adds of a forward pass take at OpenVINO's best."""
        return self.multiply_adds / self.peak_per_s[precision]

    def times_faster(self, name: str) -> dict[str, float]:
        """Return, by baseline, how many times shorter an engine's median forward pass is."""
        medians = {engine.name: engine.stages["infer"].median_s for engine in self.engines}
        return {each: medians[each] / medians[name] for each in medians if each in self.baselines and each != name}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        floors = {precision: self.floor_s(precision) for precision in self.peak_per_s}
        engines = [asdict(engine) | {"times_faster_than": self.times_faster(engine.name)} for engine in self.engines]
        return asdict(self) | {"floor_s": floors, "engines": engines}

    def render(self) -> "Iterable[RenderableType]":
        """Return tables and lines for a rich console of 80 columns or more."""
        from rich.table import Table

        speed = Table("engine", title=f"{self.model}: {self.rounds} rounds of {self.passes} decisions, in ms")
        for heading in ("infer\np50", "\np90", "\np99", "end to\nend p50", "\np99", "a\nsecond"):
            speed.add_column(heading, justify="right")
        for engine in self.engines:
            infer, decision = engine.stages["infer"], engine.decision
            durations_s = (infer.median_s, infer.p90_s, infer.p99_s, decision.median_s, decision.p99_s)
            cells = [f"{value * 1e3:.1f}" for value in durations_s]
            speed.add_row(engine.name, *cells, f"{engine.decisions_per_s:.1f}")
        yield speed

        beside_game = self.game_alone_frames_per_s is not None
        cost = Table("engine", title="share of OpenVINO's best here, cost")
        for heading in ["of\nbest", "start-up\ns", "memory\nMB", "installed\nMB"] + ["game\nframes/s"] * beside_game:
            cost.add_column(heading, justify="right")
        for engine in self.engines:
            cells = [
                _or_dash(engine.limit_share, "{:.0%}"),
                f"{engine.startup_s:.1f}",
                _or_dash(engine.peak_memory_mb, "{:.0f}"),
                _or_dash(engine.installed_mb, "{:.0f}"),
            ]
            cost.add_row(engine.name, *cells, *[_or_dash(engine.game_frames_per_s, "{:.1f}")] * beside_game)
        yield cost
        if baselines := [engine.name for engine in self.engines if engine.name in self.baselines]:
            comparison = Table("engine", title="how many times faster than")
            for name in baselines:
                comparison.add_column(name, justify="right")
            for engine in self.engines:
                faster = self.times_faster(engine.name)
                comparison.add_row(engine.name, *(_or_dash(faster.get(name), "{:.1f}") for name in baselines))
            yield comparison
        yield from self._lines()

    def _lines(self) -> Iterable[str]:
        others = [stage for stage in STAGES if stage != "infer"]
        medians = {
            stage: float(np.median([engine.stages[stage].median_s for engine in self.engines])) for stage in others
        }
        yield "other stages, median ms: " + ", ".join(f"{stage} {medians[stage] * 1e3:.3f}" for stage in others)
        best = max(self.engines, key=lambda engine: engine.decisions_per_s)
        yield (
            f"end to end: {SCREEN_WIDTH_PX} x {SCREEN_HEIGHT_PX} px to three controls with {best.name}: "
            f"{best.decisions_per_s:.1f} decisions a second"
        )
        yield (
            f"OpenVINO's best here for {self.multiply_adds / 1e9:.2f} billion multiply-adds, by its fastest pass over "
            "1 x 1 convolutions in the cache (another library's kernels may do better):"
        )
        for precision, peak in self.peak_per_s.items():
            yield f"  {precision}: {self.floor_s(precision) * 1e3:.1f} ms, at {peak / 1e9:.0f} billion a second"
        if self.game_alone_frames_per_s is not None:
            yield f"the game alone: {self.game_alone_frames_per_s:.1f} frames a second"

    def plot(self, path: Path) -> None:
        """Draw each engine's decision as a bar of its stages, with OpenVINO's best in the engine's precision.

        Whiskers end at the 90th percentile: further out, one busy moment of the machine would flatten all bars.

        Raises:
            EngineError: If matplotlib is not installed, or the file cannot be written.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as exc:
            raise EngineError(
                f"--plot needs matplotlib ({exc}). Install it with `pip install '.[training]'`, or leave --plot out."
            ) from exc
        figure = Figure(figsize=(9, 1.5 + 0.5 * len(self.engines)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        names = [engine.name for engine in self.engines]
        begins = np.zeros(len(names))
        for part in _PLOTTED:
            lengths = np.array([sum(engine.stages[stage].median_s for stage in part) for engine in self.engines]) * 1e3
            axes.barh(names, lengths, left=begins, label=", ".join(part))
            begins += lengths
        ends = np.maximum(begins, [engine.decision.p90_s * 1e3 for engine in self.engines])
        axes.errorbar(begins, names, xerr=np.stack([0 * ends, ends - begins]), fmt="none", ecolor="black", capsize=3)
        for row, (engine, end) in enumerate(zip(self.engines, ends, strict=True)):
            axes.annotate(
                f"{engine.decision.median_s * 1e3:.0f}", (end, row), (6, 0), textcoords="offset points", va="center"
            )
        limits = [(engine.limit_share or np.nan) * engine.stages["infer"].median_s * 1e3 for engine in self.engines]
        rows = np.arange(len(names))
        axes.vlines(
            limits,
            rows - 0.4,
            rows + 0.4,
            colors="black",
            linestyles="dotted",
            label="OpenVINO's best here in that precision",
        )
        axes.set_xlim(0, 1.1 * float(ends.max()))
        axes.invert_yaxis()
        axes.set_xlabel("ms from a full screen to three controls: medians, whisker to the 90th percentile")
        axes.set_title(f"{self.model}, {self.multiply_adds / 1e9:.2f} billion multiply-adds")
        figure.legend(loc="outside lower center", ncols=len(_PLOTTED) + 1, fontsize="small")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        except OSError as exc:
            raise MeasurementError(f"{path} cannot be written ({exc}), expected a place for a picture.") from exc


def summarise(
    entry: EngineEntry,
    turns: npt.NDArray[np.float64],
    startup_s: float,
    peak_memory: float | None,
    network_multiply_adds: int,
    peak_per_s: Mapping[str, float],
    game_frames_per_s: float | None = None,
) -> EngineTimes:
    """Summarise an engine's passes.

    Args:
        entry: The engine's entry.
        turns: float64, shape (passes, len(STAGES)): seconds.
        startup_s: Copied into the result, as are ``peak_memory`` (MB) and ``game_frames_per_s``.
        network_multiply_adds: Multiply-adds of one forward pass.
        peak_per_s: Multiply-adds a second at best, by precision.
    """
    stages = {stage: Spread.of(turns[:, column]) for column, stage in enumerate(STAGES)}
    decisions_s = turns.sum(axis=1)
    peak = peak_per_s.get(entry.precision) if entry.device == "cpu" else None
    share = None if peak is None else network_multiply_adds / stages["infer"].median_s / peak
    return EngineTimes(
        name=entry.name,
        stages=stages,
        decision=Spread.of(decisions_s),
        decisions_per_s=len(decisions_s) / float(decisions_s.sum()),
        startup_s=startup_s,
        peak_memory_mb=peak_memory,
        installed_mb=installed_mb(entry.packages),
        limit_share=share,
        game_frames_per_s=game_frames_per_s,
    )


def installed_mb(packages: Sequence[str]) -> float | None:
    """Return the size of installed packages and their requirements, without extras; None if none is installed.

    Args:
        packages: Names of the packages. Those that are not installed do not count.
    """
    wanted, sizes = list(packages), dict[str, int]()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in sizes:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        paths = [Path(str(file.locate())) for file in package.files or ()]
        sizes[name] = sum(path.stat().st_size for path in paths if path.is_file())
        for line in package.requires or ():
            required = re.match(r"[\w.-]+", line)
            if required and "extra ==" not in line:
                wanted.append(required[0])
    return sum(sizes.values()) / 1e6 if sizes else None


def _or_dash(value: float | None, template: str) -> str:
    return "-" if value is None else template.format(value)
