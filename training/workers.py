"""Worker processes that end with their parent, however it ends."""

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of spawned processes.

    Spawned, not forked: inference runtimes hold threads that a fork would lose. A killed parent takes its workers
    along: left alone, they would go on through the whole queue.
    """
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
