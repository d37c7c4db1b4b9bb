"""The balancing rules by the names the command line knows."""

from agent.contract.errors import TrainingError
from training.data.balancing.base import Balancing
from training.data.balancing.rules import AllLabels, EvenedOthers, JointCells, OwnLabel, Reweighted, Unbalanced

_RULES: dict[str, Balancing] = {
    rule.name: rule for rule in (Unbalanced(), JointCells(), OwnLabel(), AllLabels(), EvenedOthers(), Reweighted())
}
RULE_NAMES = tuple(_RULES)


def balancing_rule(name: str) -> Balancing:
    """Return the rule of that name.

    Raises:
        TrainingError: If there is none.
    """
    try:
        return _RULES[name]
    except KeyError:
        raise TrainingError(f"there is no balancing rule {name!r}; choose one of {', '.join(RULE_NAMES)}.") from None
