"""A network that sees several pictures at once, and so sees motion.

``training fit`` does not train on stacks yet: a sample holds one picture. ``docs/architecture.md`` says where to begin.
"""

from collections import deque

import numpy as np

from agent.contract.observation import Frame, Observation
from agent.contract.preprocess import preprocess
from agent.engines.base import Engine
from agent.policies.base import Policy
from agent.policies.network import EnginePolicy, NetworkPolicy


class StackedPolicy(EnginePolicy):
    """Gives the network the last pictures, stacked.

    Pictures are chosen by their age: the newest, then those nearest to one, two, three... times ``every_ticks`` ticks
    before it, in ticks of the weights' own rate. So the network sees the same stretch of time in a drive at another
    rate, or one that missed ticks. If no picture is old enough, as at an episode's start, the oldest one is repeated.
    After a gap as long as the whole stack, the oldest one is the newest.

    Args:
        engine: Runs the network, whose spec has a stack; closed with the policy.

    Raises:
        ValueError: If the network sees one picture.
    """

    def __init__(self, engine: Engine) -> None:
        stack = engine.spec.stack
        if stack is None:
            raise ValueError(f"{engine.spec.name} sees one picture at a time: use NetworkPolicy.")
        super().__init__(engine)
        tick_ns = 1e9 / engine.spec.rate_hz
        self._ages_ns = [age * stack.every_ticks * tick_ns for age in range(stack.pictures - 1, -1, -1)]
        self._kept_ns = self._ages_ns[0] + tick_ns / 2
        self._seen: deque[tuple[int, Observation]] = deque()  # the oldest first

    def reset(self) -> None:
        """Forget all pictures."""
        self._seen.clear()

    def _observe(self, frame: Frame) -> Observation:
        return self._stack(frame.captured_ns, preprocess(frame, self._spec))

    def _stack(self, captured_ns: int, picture: Observation) -> Observation:
        seen = self._seen
        while seen and seen[-1][0] >= captured_ns:
            seen.pop()  # the same picture again
        seen.append((captured_ns, picture))
        while captured_ns - seen[0][0] > self._kept_ns:
            seen.popleft()
        return np.concatenate([self._nearest(captured_ns - age_ns) for age_ns in self._ages_ns], axis=2)

    def _nearest(self, wanted_ns: float) -> Observation:
        return min(self._seen, key=lambda seen: abs(seen[0] - wanted_ns))[1]


def policy_for(engine: Engine) -> Policy:
    """Return the policy that gives a network the input its spec asks for; the policy closes the engine."""
    return NetworkPolicy(engine) if engine.spec.stack is None else StackedPolicy(engine)
