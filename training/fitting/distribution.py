"""Several processes, on one machine or more, that train one network: Keras' own data parallelism, on JAX."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras

from agent.contract.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Team:
    """Which of several processes this one is; each computes its part of every batch, and all hold the same weights.

    TensorFlow's MultiWorkerMirroredStrategy would be the other engine to lean on, but ``Model.fit`` of Keras 3 does not
    work under it (keras issue 20585, seen with Keras 3.15).

    Attributes:
        index: This process, from 0. The first one alone writes the run's folder; the others read its checkpoints there.
        count: How many there are.
        coordinator: ``host:port`` at which the first one listens and the others look for it.
    """

    index: int = 0
    count: int = 1
    coordinator: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise TrainingError(f"worker {self.index} of {self.count}, expected a number from 0 to {self.count - 1}.")

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.index == 0

    def part(self, total: int) -> slice:
        """Return this process's part of ``total`` samples.

        Raises:
            TrainingError: If they cannot be shared out equally.
        """
        if total % self.count:
            raise TrainingError(
                f"a batch of {total} cannot be shared out equally to {self.count} workers. Choose a --batch that "
                f"{self.count} divides."
            )
        share = total // self.count
        return slice(self.index * share, (self.index + 1) * share)

    def check(self, batch_size: int) -> None:
        """Find out before anything is loaded whether these processes can train together.

        Raises:
            TrainingError: If a batch cannot be shared out equally, or Keras does not run on JAX.
        """
        self.part(batch_size)
        if self.count > 1 and keras.backend.backend() != "jax":
            raise TrainingError(
                f"--workers needs JAX, Keras runs on {keras.backend.backend()}. Set KERAS_BACKEND=jax (JAX comes with "
                "`pip install '.[jax]'`), or train in one process."
            )

    def join(self) -> "Together":
        """Wait for the other processes.

        Raises:
            TrainingError: If they are not found.
        """
        if self.count == 1:
            return nullcontext
        import jax

        # A process that fails then ends with its own error; otherwise JAX aborts it after waiting minutes for others.
        jax.config.update("jax_enable_recoverability", True)  # type: ignore[no-untyped-call,unused-ignore]
        try:
            jax.distributed.initialize(self.coordinator, self.count, self.index)
        except (RuntimeError, ValueError) as exc:
            raise TrainingError(
                f"worker {self.index} of {self.count} did not find the others at {self.coordinator} ({exc}). Expected "
                "worker 0 to run there, and every worker to be started within five minutes."
            ) from exc
        together: Together = keras.distribution.DataParallel(auto_shard_dataset=False).scope
        return together

    def part_ways(self) -> None:
        """Wait until all have finished: the first process must not go while another still needs it."""
        if self.count > 1:
            from jax.experimental.multihost_utils import sync_global_devices

            sync_global_devices("finished")


Together = Callable[[], AbstractContextManager[Any]]
"""Makes a context in which a model is built, or trained, by all processes together."""
ALONE = Team()


@contextmanager
def local_team(count: int, command: Sequence[str]) -> Iterator[Team]:
    """Start the other processes of a team on this machine, and end them with the block.

    Args:
        count: How many there are, with this one.
        command: Arguments after ``python -m training`` that make a process one of them, but for ``--worker`` and
            ``--coordinator``.

    A team that loses a process cannot go on: where another one fails, this one ends as well, with exit code 1.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    others = [
        subprocess.Popen(
            [sys.executable, "-m", "training", *command, "--worker", str(index), "--coordinator", coordinator],
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process to act on
        )
        for index in range(1, count)
    ]
    ending = threading.Event()

    def end_others() -> None:
        ending.set()
        for other in others:
            other.kill()
            other.wait()

    def watch(other: "subprocess.Popen[bytes]") -> None:
        if (code := other.wait()) and not ending.is_set():
            sys.stderr.write(
                f"error: a worker process ended with code {code} (its own error is above), and training cannot go on "
                "without it; the last checkpoint is kept, the same command goes on from there\n"
            )
            end_others()
            os._exit(1)  # this process may be waiting for it in native code

    for other in others:
        threading.Thread(target=watch, args=(other,), daemon=True).start()
    try:
        yield Team(0, count, coordinator)
        for other in others:
            other.wait()
    finally:
        end_others()
