"""``weights``: lists the weights that there are, and fetches those that do not come with the program."""

from agent.commands.options import JSON, Command, Entry, Invocation
from agent.commands.wiring import EXIT_DONE, progress_bar, say, say_json
from agent.sessions.published import fetch_weights, known_weights
from agent.settings.weights import WeightsListSettings, WeightsSettings


def _list(settings: WeightsListSettings, invocation: Invocation) -> int:
    known = known_weights()
    if invocation.json:
        say_json({each.name: None if each.folder is None else str(each.folder.resolve()) for each in known})
        return EXIT_DONE
    for each in known:
        where = (
            f"`python -m agent weights get {each.name}` fetches them" if each.folder is None else each.folder.resolve()
        )
        say(f"{each.name:16} {where}")
    return EXIT_DONE


def _get(settings: WeightsSettings, invocation: Invocation) -> int:
    from rich.progress import DownloadColumn

    with progress_bar("fetching", DownloadColumn()) as bar:
        tasks = {}

        def show(name: str, bytes_so_far: int, bytes_in_all: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=bytes_so_far, total=bytes_in_all)

        folder = fetch_weights(settings, show)
    say(f"the weights for {settings.name} are in {folder}")
    return EXIT_DONE


COMMAND = Command(
    settings=WeightsListSettings,
    run=None,
    actions=(
        Entry(
            "list",
            "list the weights that came with the program, were fetched, or can be",
            Command(settings=WeightsListSettings, run=_list, json=JSON),
        ),
        Entry(
            "get",
            "fetch weights, once: continued if it was cut off, and checked",
            Command(settings=WeightsSettings, run=_get, example="python -m agent weights get supertuxkart"),
        ),
    ),
)
