"""The evaluator of a live training: drives new weights on tracks that nobody learns from, and keeps the best."""

import json
import math
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent.contract.durable import replace_file, replace_folder
from agent.engines.registry import load_engine
from agent.policies.stacked import policy_for
from agent.sessions.evaluation import evaluate_policy
from agent.sessions.opening import nearest_hold_ticks
from training.collecting.courses import find_trained_game
from training.fitting.clips import clip_of, name_clip
from training.fitting.folder import copy_files
from training.live.config import LiveSettings
from training.live.handover import check_probe, newest, read_handover
from training.live.keeper import kept_going

BEST = "best"
"""In a run's folder: the model that drove best."""
DRIVES = "drives.json"
"""In a run's folder: every drive of weights on the tracks that nobody learns from, oldest first."""
_JUDGED = "judged"
_WAITING_S = 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    """How weights drove.

    Attributes:
        round: The trainer's round.
        steps: Its steps.
        samples: Samples that had arrived.
        returns: A track each.
        seconds: The drives took.
        is_best: Whether no weights drove better before.
    """

    round: int
    steps: int
    samples: int
    returns: tuple[float, ...]
    seconds: float
    is_best: bool

    @property
    def mean(self) -> float:
        """Mean return."""
        return sum(self.returns) / len(self.returns)


def run_evaluator(link: "Connection[Any, Any]", settings: LiveSettings) -> None:
    """Drive the newest weights, again and again, until the other end of the pipe is closed; sends :class:`Judged`."""
    with kept_going(link, settings.nice):
        evaluator = Evaluator(settings)
        while not link.poll(_WAITING_S):
            judged = evaluator.drive_newest()
            if judged is not None:
                link.send(judged)


class Evaluator:
    """Drives weights on the tracks kept for that, and keeps the best.

    Args:
        settings: The run's.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._folder = settings.folder
        self._drives = read_drives(settings.folder)

    def drive_newest(self) -> Judged | None:
        """Drive the newest weights; return None if they have been driven, or there are none.

        Raises:
            AgentError: If weights cannot be loaded or answer wrongly, or the game fails.
        """
        found = newest(self._folder)
        if found is None or (self._drives and int(found.name) <= self._drives[-1].round):
            return None
        started_s = time.monotonic()
        copy = self._folder / _JUDGED
        try:
            replace_folder(copy, partial(copy_files, found))
        except OSError:  # deleted at this moment, as newer ones came
            return None
        handover = read_handover(copy)
        game = find_trained_game(self._settings.game)
        with closing(policy_for(load_engine("openvino", copy, 1))) as policy:
            check_probe(copy, policy)
            simulator = game.simulator_maker()()
            hold_ticks = nearest_hold_ticks(policy.spec.rate_hz, simulator)
            tracks = self._settings.driven_tracks
            clip = clip_of(self._folder, tracks, policy.spec.rate_hz, simulator.profile.axes)
            report = evaluate_policy(lambda: simulator, policy, tracks, hold_ticks, observers_for=clip)
        with suppress(OSError):  # it is for the page alone
            name_clip(self._folder, handover.steps)
        returns = tuple(track.episode_return for track in report.tracks)
        best = max((each.mean for each in self._drives), default=-math.inf)
        seconds = time.monotonic() - started_s
        is_best = sum(returns) / len(returns) > best
        judged = Judged(handover.round, handover.steps, handover.samples, returns, seconds, is_best)
        if judged.is_best:
            replace_folder(self._folder / BEST, partial(copy_files, copy))
        self._drives.append(judged)
        replace_file(self._folder / DRIVES, json.dumps([asdict(each) for each in self._drives]))
        return judged


def read_drives(folder: Path) -> list[Judged]:
    """Return how the weights of a run drove, oldest first; what cannot be read counts as nothing."""
    try:
        told = json.loads((folder / DRIVES).read_text(encoding="utf-8"))
        return [Judged(**each | {"returns": tuple(each["returns"])}) for each in told]
    except (OSError, ValueError, KeyError, TypeError):
        return []
