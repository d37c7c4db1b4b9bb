"""Worker processes that end with their parent, however it ends, and at once when it gives up."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process

from agent.contract.errors import TrainingError


@contextmanager
def worker_pool(workers: int, remedy: str = "fewer --workers") -> Iterator[ProcessPoolExecutor]:
    """Lend a pool of spawned processes; leaving the block by an exception drops the queue and ends them at once.

    Spawned, not forked: inference runtimes hold threads that a fork would lose. A killed parent takes its workers
    along: left alone, they would go on through the whole queue.

    Args:
        workers: How many.
        remedy: What to repeat the command with where memory is short.

    Raises:
        TrainingError: If a worker died.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    except BaseException as exc:
        pool.shutdown(wait=False, cancel_futures=True)  # first, or the pool would mourn those it expects to go on
        ours = set(active_children()) - others
        for process in ours:
            process.terminate()
        for process in ours:
            process.join()
        if isinstance(exc, BrokenProcessPool):
            raise TrainingError(
                f"a worker process died unexpectedly, most often for want of memory. Repeat the command with {remedy} "
                "or on a machine with more memory; what was finished is kept. A program of your own must start its "
                'work below `if __name__ == "__main__":`, because each worker imports it.'
            ) from exc
        raise
    pool.shutdown()


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
