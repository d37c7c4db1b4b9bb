"""The processes of a live training: killed, they come back; and one command leads from nothing to a drive."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.contract.errors import TrainingError
from training.live.keeper import Keeper  # nothing heavier: the children import this module, too

TIMEOUT_S = 60.0


def count(link: "Connection[Any, Any]", fail: str = "") -> None:
    """Count until told to end; or fail at once."""
    if fail:
        link.send(fail)
        return
    number = 0
    while not link.poll(0.01):
        number += 1
        link.send(number)


def hear(keeper: Keeper, until: Callable[[], bool]) -> list[Any]:
    heard: list[Any] = []
    give_up_s = time.monotonic() + TIMEOUT_S
    while not until():
        assert time.monotonic() < give_up_s
        heard += keeper.hear()
        time.sleep(0.01)
    return heard


def test_a_part_that_is_killed_comes_back_and_that_is_said() -> None:
    said: list[str] = []
    keeper = Keeper("counter", count, (), said.append)
    heard: list[int] = []
    try:
        for _ in range(2):
            before = keeper.restarts
            hear(keeper, lambda: bool(keeper.hear()))
            assert keeper.pid is not None
            os.kill(keeper.pid, signal.SIGKILL)
            hear(keeper, lambda before=before: keeper.restarts > before)
            heard += hear(keeper, lambda: keeper.back_s is not None and keeper._ended_s is None)
    finally:
        keeper.end()
    assert keeper.restarts == 2
    assert sum("is started again" in line for line in said) == 2
    assert sum("is back after" in line for line in said) == 2


def test_a_part_that_fails_again_and_again_is_an_error_in_its_own_words() -> None:
    keeper = Keeper("counter", count, ("there is no such game",), lambda line: None)
    try:
        with pytest.raises(TrainingError, match="there is no such game"):
            hear(keeper, lambda: False)
    finally:
        keeper.end()
    assert keeper.restarts == 2


def work_and_end(link: "Connection[Any, Any]") -> None:
    """Work, and say at once why that was the end of it."""
    link.send(1)
    link.send("no space left on the device")


def test_what_a_part_did_counts_though_its_end_is_found_in_the_same_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.live.keeper._FAILURES", 1)
    keeper = Keeper("worker", work_and_end, (), lambda line: None)
    try:
        keeper._child.process.join(TIMEOUT_S)  # so that all it said is there
        assert keeper.hear() == [1]
        assert keeper.restarts == 1
    finally:
        keeper.end()


def work_once(link: "Connection[Any, Any]", folder: str) -> None:
    """Work the first time, and find the disk full ever after."""
    place = Path(folder) / "worked"
    if place.exists():
        link.send("no space left on the device")
        return
    place.touch()
    link.send(1)


def test_a_part_that_worked_before_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.live.keeper._REST_S", 0.2)
    monkeypatch.setattr("training.live.keeper._FAILURES", 1)
    said: list[str] = []
    keeper = Keeper("worker", work_once, (str(tmp_path),), said.append)
    try:
        hear(keeper, lambda: keeper.restarts == 2)
        assert said[-1] == "the worker ended (no space left on the device), and is started again in 0 s"
        (tmp_path / "worked").unlink()  # there is room again
        assert hear(keeper, lambda: keeper.back_s is not None) == [1]
    finally:
        keeper.end()


@pytest.mark.slow
def test_from_nothing_to_a_drive_by_one_command_with_parts_killed_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.contract.episodes.reading import Episode
    from training.live import unattended as module
    from training.live.config import LiveSettings
    from training.live.evaluator import Judged, read_drives

    settings = LiveSettings(
        out=tmp_path,
        collectors=1,
        tracks=1,
        until=-1000,
        backbone="pilotnet",  # pictures as small as these have no place for a grid
        width_px=48,
        height_px=28,
        start=60,
        steps_per_round=5,
        minutes=15,
    )
    said: list[str] = []
    killed: list[str] = []

    def note(line: str) -> None:
        said.append(line)
        children = {child.pid: child for child in psutil.Process().children(recursive=True)}
        if "the trainer is ready" in line and not killed:
            # The collector's recording grows by now, or will soon.
            for keeper in work["it"]._keepers.values():
                if keeper._name in ("collector 1", "trainer"):
                    killed.append(keeper._name)
                    children[keeper.pid].kill()

    work: dict[str, Any] = {}
    original = module._Work

    def remembered(*args: Any) -> Any:
        work["it"] = original(*args)
        return work["it"]

    monkeypatch.setattr(module, "_Work", remembered)
    report = module.learn_unattended(settings, note)
    assert report.reason == "a mean return of -1000 is reached"
    assert killed == ["trainer", "collector 1"]
    assert report.restarts == 2
    assert report.model == tmp_path / "best"
    assert report.rounds >= 1
    (drive, *_) = read_drives(tmp_path)
    assert isinstance(drive, Judged)
    assert (tmp_path / "best" / "spec.json").exists()
    assert (tmp_path / "log.csv").read_text().count("\n") == report.rounds + 1
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    assert all(len(Episode.open(path)) for path in (tmp_path / "episodes").glob("*.parquet"))
