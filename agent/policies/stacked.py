"""A network that sees several pictures at once, and so sees motion.

``python -m training fit --history 4`` trains one of four. It also sees what the driver has just done, and may copy that
in place of looking at the road: ``docs/your-own-game.md``, "Several pictures at once".
"""

import numpy as np

from agent.contract.observation import Frame, Observation
from agent.contract.preprocess import preprocess
from agent.contract.stacking import SeenPictures
from agent.engines.base import Engine
from agent.policies.base import Policy
from agent.policies.network import EnginePolicy, NetworkPolicy


class StackedPolicy(EnginePolicy):
    """Gives the network the last pictures, stacked, chosen by :class:`agent.contract.stacking.SeenPictures`.

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
        self._seen: SeenPictures[Observation] = SeenPictures(stack, engine.spec.rate_hz)

    def reset(self) -> None:
        """Forget all pictures."""
        self._seen.forget()

    def _observe(self, frame: Frame) -> Observation:
        return np.concatenate(self._seen.see(frame.captured_ns, preprocess(frame, self._spec)), axis=2)


def policy_for(engine: Engine) -> Policy:
    """Return the policy that gives a network the input its spec asks for; the policy closes the engine."""
    return NetworkPolicy(engine) if engine.spec.stack is None else StackedPolicy(engine)
