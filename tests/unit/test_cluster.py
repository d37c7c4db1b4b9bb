"""Work shared out over a cluster: every piece once, errors in their own words, nothing left running."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.contract.errors import AgentError, GameError, TrainingError
from agent.settings.evaluate import EvaluateSettings
from agent.system import cluster as module
from agent.system.cluster import LOCAL, Cluster, connected, folder_of, read_folder
from training.collecting.config import CollectConfig


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(f"traceback of\n{cause}")
        self.cause = cause


class Task:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work


class FakeRay:
    """Does the work when it is asked for, the newest piece first."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.started: dict[str, Any] = {}
        self.cancelled: list[Task] = []
        self.ended = False
        self.gone = False
        self.listens_on = "127.0.0.1"

    def init(self, **options: Any) -> None:
        if self.gone:
            raise ConnectionError("nobody answers\nmore")
        self.started = options

    @property
    def util(self) -> Any:
        return SimpleNamespace(get_node_ip_address=lambda: self.listens_on)

    def shutdown(self) -> None:
        self.ended = True

    def put(self, value: Any) -> Any:
        return SimpleNamespace(value=value)

    def remote(self, work: Callable[[Any, Any], Any]) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=lambda place, item: Task(lambda: work(place.value, item)))

        return SimpleNamespace(options=options)

    def wait(self, pending: list[Task], num_returns: int) -> tuple[list[Task], list[Task]]:
        return [pending[-1]], pending[:-1]

    def get(self, task: Task) -> Any:
        try:
            return task.work()
        except RayError:
            raise
        except Exception as exc:
            raise RayTaskError(exc) from exc

    def cancel(self, task: Task, force: bool) -> None:
        self.cancelled.append(task)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 5.0, "memory": 1e9}

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}, {"Alive": False}, {"Alive": True}]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake  # type: ignore[return-value]


def add(shared: int, item: int) -> int:
    if item == 13:
        raise GameError("13 is no track")
    if item == 14:
        raise RayError("the node is gone")
    return shared + item


def test_every_piece_is_done_once_and_comes_with_its_item(ray: FakeRay) -> None:
    assert dict(Cluster(ray).share_out(add, 100, range(5))) == {item: 100 + item for item in range(5)}
    assert ray.options == {"num_cpus": 1, "max_retries": 5}
    assert ray.cancelled == []


def test_an_error_on_a_node_is_told_in_its_own_words_and_the_rest_is_cancelled(ray: FakeRay) -> None:
    with pytest.raises(GameError, match=r"^13 is no track$"):
        list(Cluster(ray).share_out(add, 0, [1, 2, 13]))
    assert len(ray.cancelled) == 2


def test_a_node_that_stays_away_is_an_error_that_says_what_to_do(ray: FakeRay) -> None:
    with pytest.raises(AgentError, match=r"the node is gone.*Repeat the command"):
        list(Cluster(ray).share_out(add, 0, [14]))


def test_a_bug_on_a_node_is_not_taken_for_anything_else(ray: FakeRay) -> None:
    with pytest.raises(RayTaskError):
        list(Cluster(ray).share_out(lambda shared, item: 1 // 0, 0, [1]))


def test_a_cluster_that_is_begun_here_listens_on_the_loopback_address_and_ends(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    with connected(LOCAL) as cluster:
        assert ray.started["_node_ip_address"] == "127.0.0.1"
        assert ray.started["include_dashboard"] is False
        assert "address" not in ray.started
        assert (cluster.cores, cluster.nodes) == (5, 2)
        assert module.os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert module.os.environ[module._ALONE] == "0"
        assert not ray.ended
    assert ray.ended
    assert module._ALONE not in module.os.environ


def test_a_cluster_of_this_machine_that_others_could_reach_is_refused_and_ended(ray: FakeRay) -> None:
    ray.listens_on = "192.0.2.2"
    with pytest.raises(AgentError, match=r"listens on 192\.0\.2\.2, expected 127\.0\.0\.1"), connected(LOCAL):
        pass
    assert ray.ended
    with connected("192.0.2.2:6379"):
        pass


def test_an_address_is_connected_to_and_one_where_nothing_is_is_told(ray: FakeRay) -> None:
    with connected("10.0.0.7:6379"):
        assert ray.started["address"] == "10.0.0.7:6379"
    ray.gone = True
    with pytest.raises(AgentError, match=r"did not start on this machine \(nobody answers\)"), connected(LOCAL):
        pass
    with (
        pytest.raises(AgentError, match=r"no Ray cluster at 10\.0\.0\.7:6379 \(nobody answers\)"),
        connected("10.0.0.7:6379"),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(AgentError, match=r"pip install '\.\[ray\]'"), connected(LOCAL):
        pass


def test_a_folder_arrives_as_it_was_and_once_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    (tmp_path / "weights").write_bytes(bytes(range(200)))
    (tmp_path / "below").mkdir()
    files = read_folder(tmp_path)
    there = folder_of(files)
    assert read_folder(there) == files
    assert folder_of(dict(files)) == there
    assert folder_of(files | {"spec.json": b"[]"}) != there


def test_a_file_that_would_be_written_elsewhere_is_refused() -> None:
    with pytest.raises(AgentError, match="plain name"):
        folder_of({"../elsewhere": b""})


@pytest.mark.parametrize("beside", [{"real_time": True}, {"video": Path("films")}, {"driver": "expert"}])
def test_what_cannot_be_shared_out_is_refused(beside: dict[str, Any]) -> None:
    with pytest.raises(GameError, match="--ray"):
        EvaluateSettings(ray=LOCAL, **beside)


def test_a_repainted_game_is_not_collected_from_afar() -> None:
    with pytest.raises(TrainingError, match="--disguise"):
        CollectConfig(folder=Path("d"), game="supertuxkart", ray=LOCAL, disguise=True)
