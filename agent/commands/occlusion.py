"""``occlusion``: which parts of a picture the network uses."""

from typing import TYPE_CHECKING

from agent.commands.options import JSON, Command, Invocation
from agent.commands.wiring import EXIT_DONE, note, progress_bar, say, say_json
from agent.settings.occlusion import OcclusionSettings

if TYPE_CHECKING:
    from agent.measuring.occlusion import Occlusion


def _run(settings: OcclusionSettings, invocation: Invocation) -> int:
    from agent.measuring.occlusion import measure_occlusion

    with progress_bar("pictures") as bar:
        task = bar.add_task("", total=None)
        found, names = measure_occlusion(settings, lambda total: bar.update(task, advance=1, total=total), note)
    if invocation.json:
        say_json(
            {
                "pictures": found.pictures,
                "change": {name: found.change[:, :, k].round(5).tolist() for k, name in enumerate(names)},
                "spread": {name: float(found.spread[k]) for k, name in enumerate(names)},
            }
        )
    else:
        say(_describe(found, names))
        if settings.out is not None:
            say(f"  wrote {settings.out}")
    return EXIT_DONE


def _describe(found: "Occlusion", names: list[str]) -> str:
    lines = [f"{found.pictures} pictures; change of a prediction, as a share of its own spread, with a part covered:"]
    for k, name in enumerate(names):
        share = found.change[:, :, k] / max(float(found.spread[k]), 1e-9)
        row, column = divmod(int(share.argmax()), share.shape[1])
        lines.append(
            f"  {name}: {share.mean():.2f} on average, {share.max():.2f} at most ({_name_of(row, column, share.shape)})"
        )
    return "\n".join(lines)


def _name_of(row: int, column: int, shape: tuple[int, ...]) -> str:
    across = ("left", "in the middle", "right")[3 * column // shape[1]]
    return f"{('top', 'half way up', 'bottom')[3 * row // shape[0]]}, {across}"


COMMAND = Command(
    settings=OcclusionSettings,
    run=_run,
    example="python -m agent occlusion episodes/carracing-0.parquet --out seen.png",
    notes=(
        "The map is bright where covering changes the prediction most. If something other than the road is bright (a\n"
        "map, a clock, a place in the scenery), the network steers by it: hide it with a mask in the game's profile\n"
        "and train again, so that the network has to use the road."
    ),
    json=JSON,
)
