"""The interface of balancing rules, between the data and the samples that the network is fed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agent.contract.spec import OutputSpec

Labels = npt.NDArray[np.float32]
"""float32, shape (n, outputs): every sample's labels, in the spec's order."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The samples that fill one buffer, epoch after epoch.

    Attributes:
        name: ``all``, or the name of the output it is balanced for.
        weights: float32, shape (n, outputs): weight of each sample's label in the loss of each output when the sample
            is drawn from this feed; 0 if the sample does not carry that label.
        epoch: Returns the indices of one epoch's samples in the order they are fed: int64, shape (m,). An epoch is
            about as long as the data (m near n); a rare sample may come many times in it, a common one not at all.
    """

    name: str
    weights: npt.NDArray[np.float32]
    epoch: Callable[[np.random.Generator], npt.NDArray[np.int64]]


class Balancing(Protocol):
    """A rule that decides which samples are fed to which output, how often, and with what weight."""

    @property
    def name(self) -> str:
        """Its name on the command line, such as ``v3``."""

    def feeds(self, labels: Labels, outputs: Sequence[OutputSpec]) -> tuple[Feed, ...]:
        """Return one feed for all outputs, or one for each output in their order.

        Raises:
            TrainingError: If a label lies outside its output's range, or a rule that balances finds an output that
                never varies.
        """
