"""What an export is made of, looked for before Keras is started: on a busy machine that takes 20 s."""

from agent.contract.spec import ModelSpec
from training.exporting.config import ExportSettings


def check_sources(settings: ExportSettings) -> None:
    """See to it that models and episodes are there.

    Raises:
        TrainingError: If there are no episodes where some are named.
        AgentError: If a model's spec cannot be read.
    """
    from training.data.finding import find_episodes

    for folder in settings.weights:
        ModelSpec.load(folder)
    if settings.data is not None:
        find_episodes(settings.data)
