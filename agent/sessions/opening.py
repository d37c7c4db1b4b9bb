"""The start of a session: load the network, choose the rate, claim priority and cores.

Notes for the user go to ``note``, one line at a time; nothing is printed here.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.controls import AXIS_NAMES
from agent.contract.errors import EngineError, SpecError
from agent.contract.spec import SPEC_FILE, ModelSpec
from agent.engines.registry import AUTO, EngineRequest, find_engine, load_engine
from agent.games.registry import find_expert
from agent.sessions.published import PUBLISHED, find_weights
from agent.settings.evaluate import EvaluateSettings
from agent.settings.record import RecordSettings
from agent.settings.shared import EngineSettings, ProcessorSettings
from agent.system.priority import raise_priority
from agent.system.process import pin_to

if TYPE_CHECKING:
    from agent.engines.base import Engine
    from agent.games.base import Simulator
    from agent.policies.base import Policy

Note = Callable[[str], None]
"""Called with progress and notes for the user, one line at a time."""


def ignore(line: str) -> None:
    """Ignore a note."""


def open_engine(
    settings: EngineSettings,
    game: str,
    note: Note = ignore,
    axes: Sequence[str] = AXIS_NAMES,
    rate_hz: float | None = None,
) -> "Engine":
    """Load the network.

    Args:
        settings: The network and its engine.
        game: The game's name; selects the shipped weights if none are given.
        note: Called with notes for the user, one line at a time.
        axes: The axes of the game's car, see :class:`agent.contract.profile.GameProfile`.
        rate_hz: Control rate of the game's profile, for an engine without weights, which have their own.

    Raises:
        AgentError: If the model folder or the engine is missing or faulty.
    """
    name, threads = settings.engine, settings.threads
    folder = model_folder(settings, game)
    request = EngineRequest(folder, threads, game, rate_hz)
    entry = None if name == AUTO else find_engine(name)
    if entry is not None and not entry.needs_weights:
        return entry.load(request)
    if settings.weights is None and not folder.exists():
        fetched = (
            f"`python -m agent weights get {game}` fetches them once" if game in PUBLISHED else "none are published"
        )
        raise SpecError(
            f"there are no weights for {game} here, expected a model folder: {fetched}. Or pass a folder with "
            f"--weights, or train one with `python -m training fit --game {game}`."
        )
    spec = ModelSpec.load(folder)
    try:
        spec.check_can_drive(axes)
    except SpecError as exc:
        raise SpecError(f"{folder}: {exc}") from exc
    if spec.game != game:
        note(f"{folder} was trained on {spec.game}, not on {game}: expect little")
    try:
        if entry is None:
            from agent.engines.choice import choose_engine

            return choose_engine(spec, threads, lambda each: load_engine(each, folder, threads), note)
        return entry.load(request)
    except ImportError as exc:
        advice = entry.install if entry is not None and entry.install else "install it"
        raise EngineError(
            f"the engine {name} cannot be imported ({exc}), expected its library to be installed: {advice}, or choose "
            "another with --engine."
        ) from exc


def model_folder(settings: EngineSettings, game: str) -> Path:
    """Return the folder of the network that the settings mean; it need not exist."""
    return shipped_weights(game) if settings.weights is None else best_of_a_run(settings.weights)


def open_policy(
    settings: EngineSettings,
    game: str,
    note: Note = ignore,
    axes: Sequence[str] = AXIS_NAMES,
    rate_hz: float | None = None,
) -> "Policy":
    """Load the network and wrap it in its policy; see :func:`open_engine`."""
    from agent.policies.stacked import policy_for

    return policy_for(open_engine(settings, game, note, axes, rate_hz))


def open_driver(settings: EvaluateSettings | RecordSettings, simulator: "Simulator", note: Note = ignore) -> "Policy":
    """Return the policy for a game that waits: the network, or the expert if ``settings.driver`` says so.

    Raises:
        AgentError: If the network cannot be loaded, or there is no expert.
    """
    if settings.driver == "expert":
        from agent.policies.expert import ExpertPolicy

        return ExpertPolicy(find_expert()(simulator), simulator)
    return open_policy(settings, simulator.profile.name, note, simulator.profile.axes)


def best_of_a_run(folder: Path) -> Path:
    """Return the best model of a training's folder, or the folder itself where it is a model's own."""
    best = folder / "best"
    return best if not (folder / SPEC_FILE).exists() and (best / SPEC_FILE).exists() else folder


def shipped_weights(game: str) -> Path:
    """Return the folder of a game's weights, see ``find_weights``; where there are none, the one to look for."""
    return find_weights(game) or Path("model_weights") / game


def nearest_hold_ticks(rate_hz: float, simulator: "Simulator", note: Note = ignore) -> int:
    """Return the whole number of physics ticks closest to the rate's period; note it if that is not exact."""
    ticks = max(1, round(1.0 / (rate_hz * simulator.tick_s)))
    nearest_hz = 1.0 / (ticks * simulator.tick_s)
    if not math.isclose(nearest_hz, rate_hz, rel_tol=1e-6):
        note(
            f"{rate_hz:g} Hz is not a whole number of the game's ticks of {simulator.tick_s * 1e3:g} ms: deciding "
            f"every {ticks}, at {nearest_hz:.4g} Hz"
        )
    return ticks


def settle_rate(asked_hz: float | None, policy: "Policy", note: Note = ignore) -> tuple[float, float]:
    """Warm the policy up beside the running game; return the rate to use and the seconds of a forward pass."""
    from agent.controllers.base import expiry_for
    from agent.driving.loop import stale_after
    from agent.driving.rate import sustainable_rate, warm_up

    inference_s = warm_up(policy)
    wanted_hz = asked_hz if asked_hz is not None else policy.spec.rate_hz
    rate_hz = sustainable_rate(wanted_hz, inference_s)
    if rate_hz != wanted_hz:
        found = f"a forward pass takes up to {inference_s * 1e3:.0f} ms here, good for {rate_hz:g} Hz"
        if inference_s * rate_hz > 1:
            found = f"a forward pass takes up to {inference_s * 1e3:.0f} ms here, too long even for {rate_hz:g} Hz"
        if asked_hz is not None:
            note(f"{found}; driving at {asked_hz:g} Hz all the same, as asked")
            rate_hz = asked_hz
        else:
            note(f"{found}: driving at that instead of the weights' own {wanted_hz:g} Hz (--rate HZ insists)")
    if (held_s := expiry_for(1 / rate_hz)) < 1 / rate_hz:
        note(f"controls hold for {held_s:g} s at most: at {rate_hz:g} Hz they are neutral between two decisions")
    if inference_s > stale_after(1 / rate_hz):
        note(
            f"a picture older than {stale_after(1 / rate_hz):g} s is not driven by: decisions will come too late. "
            "Close other programs, or choose a faster --engine"
        )
    return rate_hz, inference_s


def claim_priority(settings: ProcessorSettings, note: Note = ignore) -> None:
    """Raise the priority if that is asked for; note it if that fails."""
    if settings.high_priority and (problem := raise_priority()):
        note(f"{problem}; driving at normal priority")


def claim_cores(settings: ProcessorSettings, note: Note = ignore) -> None:
    """Keep to the cores that were asked for; note it if that fails."""
    if settings.cores is not None and (problem := pin_to(settings.cores)):
        note(f"{problem}; driving on any")
