"""``export``: int8 weights, the mean of models, another picture size."""

import os

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, say
from training.exporting.config import ExportSettings
from training.exporting.sources import check_sources
from training.network.keras_start import start_keras


def _run(settings: ExportSettings, invocation: Invocation) -> int:
    check_sources(settings)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes are not ours
    start_keras()
    from training.sessions.export import export

    export(settings, say, note)
    return EXIT_DONE


COMMAND = Command(
    settings=ExportSettings,
    run=_run,
    example="python -m training export --weights runs/first/best --int8 --data data/expert",
)
