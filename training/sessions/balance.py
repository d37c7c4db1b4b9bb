"""What balancing rules would feed, from settings to a report: what ``python -m training balance`` does."""

from collections.abc import Callable

from agent.contract.spec import outputs_named
from training.data.balance_report import BalanceReport, read_labels, report_balance
from training.data.balancing.registry import RULE_NAMES
from training.data.config import BalanceSettings
from training.data.finding import find_episodes


def measure_balance(
    settings: BalanceSettings, progress: Callable[[int], None] = lambda episodes: None
) -> BalanceReport:
    """Measure what each rule would feed the network; drawing it is left to the caller.

    Args:
        settings: Which episodes, which rule.
        progress: Is told after every episode how many there are.

    Raises:
        AgentError: If an episode cannot be read, or its labels cannot be balanced.
    """
    paths = find_episodes(settings.data)
    outputs = outputs_named(settings.outputs)
    labels = read_labels(paths, lambda: progress(len(paths)), outputs)
    rule_names = RULE_NAMES if settings.rule == "all" else (settings.rule,)
    return report_balance(labels, outputs, rule_names, len(paths))
