"""Work shared out over the nodes of a Ray cluster, or over this machine's cores by a cluster of its own.

Ray's workers run whatever its clients send them, and unpickle it: whoever reaches a cluster's ports runs code as the
user who started it. A cluster that is begun here listens on the loopback address alone, and ends with the command.
"""

import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from agent.contract.errors import AgentError

LOCAL = "local"
"""The address of a cluster that is begun here."""
LOOPBACK = "127.0.0.1"
_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_RETRIES = 5
"""How often a piece of work is begun again where its node went away."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cluster:
    """A cluster that this process is connected to; :func:`connected` makes it.

    Args:
        ray: The module.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    @property
    def cores(self) -> int:
        """Cores of all nodes."""
        return int(self._ray.cluster_resources().get("CPU", 0))

    @property
    def nodes(self) -> int:
        """Nodes that are there now."""
        return sum(bool(node["Alive"]) for node in self._ray.nodes())

    def share_out(
        self, work: Callable[[Any, Item], Result], shared: Any, items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Do a piece of work for each item, a core each, and yield the results as they come.

        Args:
            work: A module-level function of ``shared`` and an item; the nodes have this package, too.
            shared: Is sent to each node once.
            items: What there is to do.

        Raises:
            AgentError: If a piece of work fails, with its own words; or if nodes go away again and again.
        """
        ray = self._ray
        task = ray.remote(work).options(num_cpus=1, max_retries=_RETRIES)
        place = ray.put(shared)
        pending = {task.remote(place, item): item for item in items}
        try:
            while pending:
                done, _ = ray.wait(list(pending), num_returns=1)
                for each in done:
                    yield pending.pop(each), self._result(each)
        finally:
            for each in pending:
                ray.cancel(each, force=True)

    def _result(self, reference: Any) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as exc:
            if isinstance(exc.cause, AgentError):
                raise exc.cause from exc
            raise
        except exceptions.RayError as exc:
            raise AgentError(
                f"the cluster could not do a piece of the work ({_first_line(exc)}), expected nodes that stay and have "
                "memory for it. Repeat the command; what was finished is kept where it writes files."
            ) from exc


@contextmanager
def _alone(address: str) -> Iterator[None]:
    """Have Ray listen on the loopback address, if it is to begin a cluster here.

    Otherwise it takes the loopback address for the machine's own, and listens on all of them. By a variable that it
    reads when it is imported, it knows of no other machines, as on Windows and macOS.
    """
    before = os.environ.get(_ALONE)
    if address == LOCAL:
        os.environ[_ALONE] = "0"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ALONE, None)
        else:
            os.environ[_ALONE] = before


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a cluster, or begin one on this machine that listens on the loopback address alone.

    Args:
        address: ``HOST:PORT`` of the cluster's head, or :data:`LOCAL`.

    Raises:
        AgentError: If Ray is not installed, or there is no such cluster.
    """
    with _alone(address):
        yield from _connect(address)


def _connect(address: str) -> Iterator[Cluster]:
    # Ray reports to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as exc:
        raise AgentError(f"Ray is not installed ({exc}), expected it for --ray: `pip install '.[ray]'`.") from exc
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        if address == LOCAL:
            ray.init(include_dashboard=False, _node_ip_address=LOOPBACK, **options)
        else:
            ray.init(address=address, **options)
    except Exception as exc:  # Ray raises bare Exceptions, ConnectionError, RuntimeError, ValueError
        if address == LOCAL:
            raise AgentError(
                f"Ray did not start on this machine ({_first_line(exc)}), expected it to within half a minute. Close "
                "other programs, which may be too many for it, and try again."
            ) from exc
        raise AgentError(
            f"there is no Ray cluster at {address} ({_first_line(exc)}), expected one that runs, of the same version "
            "of Ray and Python. Look at `ray status`."
        ) from exc
    try:
        if address == LOCAL and ray.util.get_node_ip_address() != LOOPBACK:
            raise AgentError(
                f"Ray listens on {ray.util.get_node_ip_address()}, expected {LOOPBACK}, which no other machine "
                "reaches. Begin a cluster yourself (`ray start`), behind a firewall, and pass its address."
            )
        yield Cluster(ray)
    finally:
        ray.shutdown()


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return a folder's files by name, to be sent to nodes that do not have it."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def folder_of(files: Mapping[str, bytes]) -> Path:
    """Return a folder with these files, on a node; it is written once in a process, and removed with it."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    _contents[digest.hexdigest()] = files
    return _write(digest.hexdigest())


_contents: dict[str, Mapping[str, bytes]] = {}


@lru_cache(maxsize=4)
def _write(digest: str) -> Path:
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="hoodcam-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, content in _contents.pop(digest).items():
        if Path(name).name != name:
            raise AgentError(f"a model's file is named {name!r}, expected a plain name.")
        (folder / name).write_bytes(content)
    return folder


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
