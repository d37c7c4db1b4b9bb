"""``page``: shows recordings and trainings in the browser."""

from agent.commands.options import Command, Invocation
from agent.commands.wiring import EXIT_DONE, note
from agent.settings.page import PageFolderSettings


def _run(settings: PageFolderSettings, invocation: Invocation) -> int:
    from agent.sessions.page_folder import serve

    try:
        serve(settings, note)
    except KeyboardInterrupt:
        note("the page is closed")
    return EXIT_DONE


COMMAND = Command(
    settings=PageFolderSettings,
    run=_run,
    example="python -m agent page episodes",
    notes=(
        "Ctrl-C ends it. A span that is marked as bad goes into an edit list beside the episode, which `training fit`\n"
        "and `training balance` leave out. Deleting moves an episode into a folder .deleted beside it."
    ),
)
