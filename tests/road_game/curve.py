"""``python -m tests.road_game.curve --out DIR``: minutes of driving against how far the network then gets.

For every number of minutes and every seed, on a virtual clock: the scripted person drives the road game and is
recorded, ``fit --minutes 20`` trains as in the README's step 4, and the network drives, on the track that was shown
and on one that it has never seen; the person helps where it goes wrong. With ``--corrections`` the network then drives
some minutes more with the person correcting, is trained on with those, and drives again. What is there already is not
done twice. ``DIR/curve.json`` has every point, ``DIR/curve.png`` is the picture.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UNSEEN = 5
"""Seed of the track that no network was shown."""
_RACES = {1.0: 2, 2.0: 4, 5.0: 4}
_MOST_RACES = 8
_PROFILE = """title = "Road"
rate_hz = 20
controller = "keyboard"
notes = "the road game, as `games new` describes it"

[capture]
window = "Road Game"

[[mirrored]]
left = 0.0
top = 0.0
width = 1.0
height = 1.0

[keys]
steering_ramp_s = [0.15, 0.3, 0.21]

[stuck]
action = "reverse"
after_s = 4.0
for_s = 1.5
"""


class Workplace:
    """Runs the steps in a folder, each once.

    Args:
        folder: Where everything goes.
        fit: Options of every training.
        corrections: Minutes of corrections; 0: none.

    Raises:
        RuntimeError: If what is in the folder was made with others.
    """

    def __init__(self, folder: Path, fit: Sequence[str], corrections: float) -> None:
        plan, asked = folder / "plan.json", {"fit": list(fit), "corrections": corrections}
        if plan.exists() and json.loads(plan.read_text(encoding="utf-8")) != asked:
            raise RuntimeError(f"{folder} was made with {plan.read_text(encoding='utf-8')}, expected {asked}.")
        plan.write_text(json.dumps(asked), encoding="utf-8")
        self._folder = folder
        self._corrections = corrections
        self._fit = tuple(fit)
        profiles = folder / "config" / "hoodcam" / "games"
        profiles.mkdir(parents=True, exist_ok=True)
        (profiles / "my-road.toml").write_text(_PROFILE, encoding="utf-8")
        self._environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config"), "TF_CPP_MIN_LOG_LEVEL": "3"}

    def point(self, minutes: float, seed: int) -> dict[str, Any]:
        """Return one point of the curve: how the network drove after so many minutes of demonstrations."""
        name = f"{minutes:g}-{seed}"
        shown = self._folder / f"shown-{name}"
        races = str(_RACES.get(minutes, _MOST_RACES))
        person = self._lockstep(
            f"person-{name}", "record", seed, "--out", str(shown), "--minutes", f"{minutes:g}", "--races", races
        )
        run = self._train(name, "--data", str(shown))
        point = {"minutes": minutes, "seed": seed, "person": person} | self._measure(name, run, seed)
        if self._corrections:
            corrected = self._folder / f"corrected-{name}"
            told = self._drive(f"correcting-{name}", run, UNSEEN, self._corrections, 3, "--out", str(corrected))
            again = self._train(f"{name}-again", "--data", str(shown), str(corrected), "--init", str(run / "best"))
            point["correcting"] = told
            point["corrected"] = self._measure(f"{name}-again", again, seed)
        return point

    def _measure(self, name: str, run: Path, seed: int) -> dict[str, Any]:
        return {
            "shown": self._drive(f"shown-track-{name}", run, seed, 10, 10),
            "unseen": self._drive(f"unseen-track-{name}", run, UNSEEN, 10, 10),
        }

    def _drive(self, name: str, run: Path, seed: int, minutes: float, races: int, *more: str) -> dict[str, Any]:
        weights = ("--weights", str(run / "best"))
        return self._lockstep(name, "drive", seed, *weights, "--minutes", f"{minutes:g}", "--races", str(races), *more)

    def _lockstep(self, name: str, what: str, seed: int, *more: str) -> dict[str, Any]:
        path = self._folder / f"{name}.json"
        if not path.exists():
            command = ["tests.road_game.lockstep", what, "--game", "my-road", "--seed", str(seed), *more]
            path.write_text(self._module(name, command), encoding="utf-8")
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return told

    def _train(self, name: str, *data: str) -> Path:
        run = self._folder / f"run-{name}"
        done = self._folder / f"fit-{name}.json"
        if not done.exists():
            command = ["training", "fit", "--game", "my-road", *data, "--out", str(run), "--quiet", *self._fit]
            done.write_text(self._module(f"fit-{name}", command), encoding="utf-8")
        return run

    def _module(self, name: str, command: Sequence[str]) -> str:
        with (self._folder / f"{name}.log").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"`python -m {' '.join(command)}` ended with {done.returncode}; see {log.name}.")
        return done.stdout.splitlines()[-1] + "\n"


def rows(points: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table in Markdown: a row a number of minutes, with every seed's interventions a minute."""
    lines = [
        "| minutes shown | its track: interventions a minute | starts | another track | starts |",
        "| --- | --- | --- | --- | --- |",
    ]
    for minutes in sorted({point["minutes"] for point in points}):
        of_these = [point for point in points if point["minutes"] == minutes]
        cells = []
        for track in ("shown", "unseen"):
            told = [point[track] for point in of_these]
            cells.append(", ".join(f"{each['per_minute']:.2f}" for each in told))
            cells.append(f"{sum(each['started'] for each in told)} of {sum(each['starts'] for each in told)}")
        lines.append(f"| {minutes:g} | {' | '.join(cells)} |")
    return lines


def draw(points: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the picture: interventions a minute against minutes shown, a dot a seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for track, colour, label in (("shown", "tab:blue", "on its track"), ("unseen", "tab:orange", "on another track")):
        minutes = sorted({point["minutes"] for point in points})
        found = [[p[track]["per_minute"] for p in points if p["minutes"] == each] for each in minutes]
        axes.plot(minutes, [sum(each) / len(each) for each in found], color=colour, label=label)
        for each, values in zip(minutes, found, strict=True):
            axes.scatter([each] * len(values), values, color=colour, s=16)
    axes.set(xscale="log", xlabel="minutes of driving shown", ylabel="interventions a minute")
    axes.set_xticks(minutes, [f"{each:g}" for each in minutes])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.road_game.curve", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for everything")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 2, 5, 10], help="shown (default: 1 2 5 10)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="tracks and persons (default: 0 1 2)")
    parser.add_argument("--corrections", type=float, default=0.0, metavar="MINUTES", help="on the other track (0)")
    parser.add_argument("--fit", default="--minutes 20", help='options of fit, as --fit="--minutes 20" (the default)')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    place = Workplace(arguments.out.resolve(), shlex.split(arguments.fit), arguments.corrections)
    points = []
    for minutes in arguments.minutes:
        for seed in arguments.seeds:
            points.append(place.point(minutes, seed))
            (arguments.out / "curve.json").write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
            sys.stderr.write(f"{minutes:g} minutes, seed {seed}: {json.dumps(points[-1]['shown'])}\n")
    draw(points, arguments.out / "curve.png")
    sys.stdout.write("\n".join(rows(points)) + "\n")


if __name__ == "__main__":
    main()
