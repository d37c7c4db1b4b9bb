"""A drive of a game in a window: captured from the screen, moved by a gamepad or keys through a guard process."""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.capture.screen import CaptureCounts, ScreenSource
from agent.contract.controls import Controls
from agent.contract.profile import GameProfile
from agent.controllers.base import Controller, expiry_for
from agent.controllers.guard.client import GuardedController
from agent.driving.loop import drive
from agent.driving.stuck import StuckWatch
from agent.driving.summary import DriveSummary
from agent.games.registry import find_game
from agent.policies.base import Policy
from agent.policies.hot_swap import HotSwapPolicy
from agent.sessions.drive_outputs import Watch, describe_health, health_log, no_watch, output_observers, startup_s
from agent.sessions.endings import FirstDecision, end_of
from agent.sessions.opening import Note, claim_cores, claim_priority, ignore, open_policy, settle_rate
from agent.sessions.pages import page_of_drive, weights_of
from agent.settings.drive import DriveSettings
from agent.system.pacing import Pacer, TickStats, clock_ns
from agent.system.process import peak_memory_mb

if TYPE_CHECKING:
    from agent.page.feed import Page, PageObserver

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WindowDrive:
    """How a drive of a game in a window went.

    Attributes:
        game: The game's name.
        model: Name of the weights.
        engine: The engine that ran them.
        rate_used_hz: Control rate.
        inference_s: Seconds per decision, measured while warming up.
        interrupted: Whether Ctrl-C ended it.
        peak_memory_mb: Peak memory of this process; None if the system does not report it.
        first_decision_ns: When the first controls were sent, on ``agent.system.pacing.clock_ns``; None if never.
        captured: Counts of the pictures.
        controls_expired: How often the guard released the controls because no new ones came.
        summary: The loop's summary.
        files: The files written.
        health: How the process's health developed, if it was logged.
    """

    game: str
    model: str
    engine: str
    rate_used_hz: float
    inference_s: float
    interrupted: bool
    peak_memory_mb: float | None
    first_decision_ns: int | None
    captured: CaptureCounts
    controls_expired: int
    summary: DriveSummary
    files: tuple[Path, ...]
    health: str = ""

    def to_dict(self, started_ns: int | None = None) -> dict[str, Any]:
        """Return plain data for JSON; ``started_ns`` is when the program was started, on the same clock."""
        return {
            "game": self.game,
            "model": self.model,
            "engine": self.engine,
            "rate_used_hz": self.rate_used_hz,
            "inference_s": self.inference_s,
            "interrupted": self.interrupted,
            "peak_memory_mb": self.peak_memory_mb,
            "process_start_to_first_decision_s": startup_s(started_ns, self.first_decision_ns),
            "captured": asdict(self.captured),
            "controls_expired": self.controls_expired,
            **self.summary.to_dict(),
            "files": [str(path) for path in self.files],
        }


def drive_window(
    settings: DriveSettings,
    note: Note = ignore,
    watch: Watch = no_watch,
    open_with: Callable[[GameProfile], Policy] | None = None,
    taken: bool = False,
) -> WindowDrive:
    """Drive a game in a window until Ctrl-C, or for ``settings.seconds``; the controls are neutral at the end.

    Args:
        settings: What to drive, and which files to write.
        note: Called with progress and notes for the user, one line at a time.
        watch: Makes further observers.
        open_with: Makes the policy for the game, in place of the settings' weights; it is closed with the drive.
        taken: Whether the person has the wheel at first.

    Returns:
        How it went; a fault that ended the drive is in ``summary.fault``.

    Raises:
        AgentError: If it could not begin: no such game or window, no gamepad, no weights.
    """
    profile = find_game(settings.game).profile
    claim_priority(settings, note)  # the guard inherits it
    health, files = health_log(settings), list[Path]()
    with ExitStack() as stack:
        # Before the network is loaded: so a fault of the window or pad shows at once, and the game sees the pad early.
        source = stack.enter_context(ScreenSource(settings.where_to_look(profile)))
        controller = stack.enter_context(_make_controller(settings, profile, taken))
        claim_cores(settings, note)
        policy = stack.enter_context(closing(open_with(profile) if open_with else _network(settings, profile, note)))
        rate_hz, inference_s = settle_rate(settings.rate, policy, note)
        page = stack.enter_context(_page(settings, profile, policy, rate_hz, note))
        pacer, first = Pacer(1.0 / rate_hz), FirstDecision()
        summary = DriveSummary(pacer.stats)
        takeover, stuck = _takeover_and_stuck(controller, profile, pacer.period_s)
        outputs = output_observers(settings, profile.name, profile.axes, policy, rate_hz, None, files)
        if health is not None:
            outputs.append(health.of(pacer.stats))
        if page is not None:
            outputs.append(_page_of(page, policy, pacer.stats))
        note(f"driving {profile.title} at {rate_hz:g} Hz; Ctrl-C ends it, controls neutral")
        watchers = [first, *watch(pacer.stats), *outputs]
        loop = partial(drive, source, controller, policy, pacer, watchers, over_after(settings.seconds))
        end = end_of(partial(loop, summary, takeover, stuck), summary)
    return WindowDrive(
        game=profile.name,
        model=policy.spec.name,
        engine=policy.name,
        rate_used_hz=rate_hz,
        inference_s=inference_s,
        interrupted=isinstance(end, KeyboardInterrupt),
        peak_memory_mb=peak_memory_mb(),
        first_decision_ns=first.sent_ns,
        captured=source.counts,
        controls_expired=controller.expired if isinstance(controller, GuardedController) else 0,
        summary=summary,
        files=tuple(path for path in files if path.exists()),
        health=describe_health(health),
    )


def _page(
    settings: DriveSettings, profile: GameProfile, policy: Policy, rate_hz: float, note: Note
) -> AbstractContextManager["Page | None"]:
    return page_of_drive(settings, settings, profile, policy, rate_hz, settings.record, note, by_key=True)


def _tell_of_another_region(policy: Policy, settings: DriveSettings, profile: GameProfile, note: Note) -> None:
    """Say that the network will see another part of the window than in training: roads lie elsewhere in it then."""
    trained = policy.spec.region
    captured = str(settings.where_to_look(profile).region or "")
    if trained is not None and trained != captured:
        first, second = (f"{part} of the window" if part else "all of the window" for part in (trained, captured))
        note(f"the weights were trained on {first}, and now see {second}: expect little, or record and train again")


def _network(settings: DriveSettings, profile: GameProfile, note: Note) -> Policy:
    policy = open_policy(settings, profile.model_name, note, profile.axes, profile.rate_hz)
    _tell_of_another_region(policy, settings, profile, note)
    return policy


def _page_of(page: "Page", policy: Policy, stats: TickStats) -> "PageObserver":
    return page.of(stats, swaps=partial(_swaps_of, policy), weights=partial(weights_of, policy))


def _swaps_of(policy: Policy) -> int:
    """Return how often the weights were swapped."""
    return policy.swaps if isinstance(policy, HotSwapPolicy) else 0


def over_after(seconds: float | None, clock: Callable[[], int] = clock_ns) -> Callable[[], bool]:
    """Return what says that a time is over. It begins when that is first asked, which is when all files are open.

    Opening a recorder and starting the guard may take seconds, and then nothing was left of a short drive.
    """
    stop_ns: float | None = None

    def is_over() -> bool:
        nonlocal stop_ns
        now_ns = clock()
        if stop_ns is None:
            stop_ns = math.inf if seconds is None else now_ns + seconds * 1e9
        return now_ns >= stop_ns

    return is_over


def _takeover_and_stuck(
    controller: Controller, profile: GameProfile, period_s: float
) -> tuple[Callable[[], Controls | None], StuckWatch | None]:
    """Return who may take over and what frees a stuck car; without a guard, nobody and nothing."""
    if not isinstance(controller, GuardedController):
        return _nobody, None
    controller.expiry_s = expiry_for(period_s)
    return controller.by_hand, None if profile.stuck is None else StuckWatch(profile.stuck, controller.tap)


def _nobody() -> None:
    """Take over."""


def _make_controller(settings: DriveSettings, profile: GameProfile, taken: bool = False) -> Controller:
    """Return the controller, held by a guard process that releases the controls when this process is silent."""
    if settings.dry_run:
        from agent.controllers.memory import MemoryController

        return MemoryController()
    from agent.driving.guarded import guarded_controller

    return guarded_controller(profile, settings.controller, settings.takeover, taken)
