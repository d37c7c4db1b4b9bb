"""All engines: their names, what they need, how they are made, and whether `auto` may choose them.

Another package adds an engine by an entry point of the group ``hoodcam.engines``. The entry point has the engine's name
and refers to an :class:`EngineEntry` in a module that imports no heavy library::

    [project.entry-points."hoodcam.engines"]
    fast = "fast_engine.entry:FAST"

No code parses an engine's name: its entry says in which precision and on which device it computes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agent.contract.controls import Controls
from agent.contract.errors import AgentError, EngineError
from agent.contract.spec import ModelSpec
from agent.system.plugins import find_plugins, load_plugin, package_of, reason_of

if TYPE_CHECKING:
    from agent.engines.base import Engine
    from agent.engines.onnxruntime import Device

GROUP = "hoodcam.engines"
"""The group of the entry points."""
AUTO = "auto"
"""The name for the fastest engine that runs here, see ``agent.engines.choice``."""

Precision = Literal["f32", "bf16", "int8"]


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What an engine is asked to run.

    Attributes:
        folder: The model's folder. For an engine that needs no weights, it need not exist.
        threads: Processor threads; None leaves the number to the engine.
        game: Profile name of the game, for an engine that needs no weights.
        rate_hz: Control rate of the game's profile, for an engine that needs no weights; None if unknown.
    """

    folder: Path
    threads: int | None = None
    game: str = ""
    rate_hz: float | None = None


def never(spec: ModelSpec) -> bool:
    """Return False: `auto` offers this engine for no model."""
    return False


def always(spec: ModelSpec) -> bool:
    """Return True: `auto` offers this engine for every model."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEntry:
    """One engine.

    Attributes:
        name: Its name on the command line and in reports.
        runtime: The usual name of the library that it runs on.
        make: Makes it; imports the library only when called.
        precision: The precision of most of its arithmetic.
        device: Where it runs: ``cpu``, or the name of an accelerator.
        packages: Distributions that it runs on, for their versions and sizes; those not installed do not count.
        module: The module that must be importable.
        is_there: Whether the installed library can run it; called only if ``module`` is importable.
        install: What to do if ``module`` is missing, such as a command in backquotes.
        processor: What the processor must have; empty if any processor will do.
        needs_weights: Whether it runs a model folder's network.
        automatic: Whether `auto` may offer it for a model.
        replaced_by: An engine that, if it runs, saves `auto` the timing of this one.
        package: Name of the third party's package. Set by the registry.
    """

    name: str
    runtime: str
    make: "Callable[[EngineRequest], Engine]"
    precision: Precision = "f32"
    device: str = "cpu"
    packages: tuple[str, ...] = ()
    module: str = ""
    is_there: Callable[[], bool] = lambda: True
    install: str = ""
    processor: str = ""
    needs_weights: bool = True
    automatic: Callable[[ModelSpec], bool] = never
    replaced_by: str = ""
    package: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether its library is installed; it may still refuse this processor or model."""
        try:
            return (not self.module or find_spec(self.module) is not None) and self.is_there()
        except Exception:  # such as a module inside of a package that is missing, or another package's own fault
            if not self.package:
                raise
            return False

    def load(self, request: EngineRequest) -> "Engine":
        """Make the engine.

        Raises:
            ImportError: If its library is missing.
            EngineError: If it cannot run the network here; for another package's engine, after any failure.
            SpecError, WeightsError: If the model folder cannot be used.
        """
        try:
            return self.make(request)
        except (AgentError, ImportError):
            raise
        except Exception as exc:
            if not self.package:
                raise
            raise EngineError(
                f"the engine {self.name} of {self.package} cannot be made ({reason_of(exc)}). Update that "
                "package, or choose another with --engine."
            ) from exc


# --- the engines that come with the agent -----------------------------------------------------------------------------


def _openvino(precision: Precision, request: EngineRequest) -> "Engine":
    from agent.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(request.folder, precision, request.threads)


def _onnxruntime(device: "Device", request: EngineRequest) -> "Engine":
    from agent.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(request.folder, "f32", request.threads, device)


def _refuse_onnxruntime_int8(request: EngineRequest) -> "Engine":
    raise EngineError(
        "onnxruntime-int8 is slower than onnxruntime, expected the reason for int8 to be speed: ONNX Runtime does not "
        "compute in bytes what these weights keep in float between two layers. Take --engine openvino-int8."
    )


def _has_device(device: "Device") -> bool:
    from agent.engines.onnxruntime import available_devices

    return device in available_devices()


def _constant(request: EngineRequest) -> "Engine":
    from agent.engines.constant import ConstantEngine

    spec = ModelSpec(name="constant", backbone="none", game=request.game)
    if request.rate_hz is not None:
        spec = replace(spec, rate_hz=request.rate_hz)
    return ConstantEngine(spec, SLOWLY_STRAIGHT_ON)


SLOWLY_STRAIGHT_ON = Controls(0.0, 0.1, 0.0)
"""The constant engine's prediction, for trying out everything except the network."""


def _drives_as_well_in_int8(spec: ModelSpec) -> bool:
    """Whether the int8 weights were shown to drive as well as the float weights; see ``Quantization.driving``."""
    return spec.quantization is not None and spec.quantization.driving is not None


_OPENVINO = EngineEntry(
    name="openvino",
    runtime="OpenVINO",
    make=partial(_openvino, "f32"),
    packages=("openvino",),
    module="openvino",
    install="`pip install '.'` again",
    automatic=always,
    replaced_by="openvino-bf16",
)
# `auto` offers none of them: ONNX Runtime takes 1.1 (float32) to 5 times (int8) as long as OpenVINO.
_ONNXRUNTIME = EngineEntry(
    name="onnxruntime",
    runtime="ONNX Runtime",
    make=partial(_onnxruntime, "cpu"),
    packages=("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
    module="onnxruntime",
    install="`pip install '.[onnxruntime]'`",
)
_BUILT_IN = (
    _OPENVINO,
    replace(
        _OPENVINO,
        name="openvino-bf16",
        make=partial(_openvino, "bf16"),
        precision="bf16",
        processor="AVX512-BF16 or AMX",
        replaced_by="",
    ),
    replace(
        _OPENVINO,
        name="openvino-int8",
        make=partial(_openvino, "int8"),
        precision="int8",
        automatic=_drives_as_well_in_int8,
        replaced_by="",
    ),
    _ONNXRUNTIME,
    # 361 ms of processor time a pass where float32 takes 292 (EPYC, one thread), 140 where it takes 94 (Xeon with AMX);
    # with session.disable_quant_qdq 315. The class runs it all the same, to check the weights with a second runtime.
    replace(_ONNXRUNTIME, name="onnxruntime-int8", make=_refuse_onnxruntime_int8, precision="int8"),
    *(
        replace(
            _ONNXRUNTIME,
            name=f"onnxruntime-{device}",
            make=partial(_onnxruntime, device),
            device=device,
            is_there=partial(_has_device, device),
        )
        for device in ("cuda", "directml", "coreml")
    ),
    EngineEntry(name="constant", runtime="nothing", make=_constant, needs_weights=False),
)


# --- asking -----------------------------------------------------------------------------------------------------------


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines, those of other packages last; other packages are not imported."""
    built_in = tuple(entry.name for entry in _BUILT_IN)
    return (*built_in, *(name for name in find_plugins(GROUP) if name not in built_in))


def find_engine(name: str) -> EngineEntry:
    """Return the entry of that name. Another package cannot replace an engine of the agent.

    Raises:
        EngineError: If the name is unknown (the message lists the known ones), or another package's engine cannot be
            loaded.
    """
    for entry in _BUILT_IN:
        if entry.name == name:
            return entry
    plugins = find_plugins(GROUP)
    if name not in plugins:
        raise EngineError(
            f"the engine {name!r} is unknown, expected one of {', '.join(engine_names())}. Install the package that "
            "has it; a checkout that has changed is installed again with `pip install -e .`."
        )
    plugin = plugins[name]
    return replace(load_plugin(plugin, EngineEntry, EngineError), name=name, package=package_of(plugin))


def find_engines(on_broken: Callable[[str], None]) -> Iterator[EngineEntry]:
    """Yield every entry.

    Args:
        on_broken: Receives one line for each engine of another package that cannot be loaded.
    """
    for name in engine_names():
        try:
            yield find_engine(name)
        except EngineError as exc:
            on_broken(str(exc))


def load_engine(name: str, folder: Path, threads: int | None = None, game: str = "") -> "Engine":
    """Make the engine of that name.

    Args:
        name: The engine's name; not ``auto``.
        folder: The model's folder.
        threads: Processor threads; None leaves the number to the engine.
        game: Profile name of the game, for an engine that needs no weights.

    Raises:
        ImportError: If its library is missing.
        EngineError: If the name is unknown, or the engine cannot run the network here.
        SpecError, WeightsError: If the model folder cannot be used.
    """
    return find_engine(name).load(EngineRequest(folder, threads, game))


class EngineChoices:
    """The names for a command line's option, `auto` first.

    Reading the entry points of other packages takes a tenth of the program's start-up time. So that is done only to
    show all names, or to find a name that is not the agent's own.
    """

    def __contains__(self, name: object) -> bool:
        return name == AUTO or any(entry.name == name for entry in _BUILT_IN) or name in find_plugins(GROUP)

    def __iter__(self) -> Iterator[str]:
        return iter((AUTO, *engine_names()))
