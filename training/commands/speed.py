"""``speed``: time a training step here."""

import json
import os

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, say
from training.measuring.config import SpeedSettings
from training.network.keras_start import start_keras


def _run(settings: SpeedSettings, invocation: Invocation) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    start_keras()

    from rich.console import Console

    from training.measuring.speed import measure_steps, speed_table, speeds_to_dict

    speeds = measure_steps(settings.backbone, settings.height, settings.width, settings.batch, settings.rounds)
    if invocation.json:
        say(json.dumps(speeds_to_dict(speeds), indent=2))
    else:
        title = f"{settings.backbone}, {settings.width} x {settings.height}, batches of {settings.batch}"
        Console().print(speed_table(speeds, title))
    return EXIT_DONE


COMMAND = Command(
    settings=SpeedSettings,
    run=_run,
    example="python -m training speed --width 240 --height 135",
    json="print JSON instead of a table",
)
