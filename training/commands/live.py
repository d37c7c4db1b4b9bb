"""``live``: learn while driving."""

import os

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import exit_code, note, say, say_json
from training.live.config import LiveSettings


def _run(settings: LiveSettings, invocation: Invocation) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from training.sessions.live import learn_live

    report = learn_live(settings, note)
    if invocation.json:
        say_json(report.to_dict())
    else:
        for line in report.describe():
            say(line)
    return exit_code(report.interrupted, report.problems, report.fault)


COMMAND = Command(
    settings=LiveSettings,
    run=_run,
    example="python -m training live --game carracing --collectors 2 --until 900",
    json=JSON,
)
