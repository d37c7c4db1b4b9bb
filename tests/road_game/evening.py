"""``python -m tests.road_game.evening``: the README's five steps, literally, with a scripted person at the keys.

On a desktop that nobody sees: the game is described, checked, recorded, trained from, driven; corrections are recorded,
trained from with the rest, and driven again. Everything lands in one folder: logs, episodes, networks, and
``evening.json`` with each step's time and figures. The same line goes on where an evening was broken off.
"""

import argparse
import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.games.virtual_desktop import joined, virtual_desktop

from .driver import Manner
from .figures import figures
from .person import Patience, Person, person_at

ROOT = Path(__file__).parents[2]
NAME, TITLE = "my-road", "Road Game"
RECIPE = "--minutes 20"
"""The options of the README's step 4."""

_START_S = 180.0


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        folder: Where everything goes.
        seed: Of the track and the person's errors.
        races: How many races are recorded, each from a standing start.
        minutes: Of demonstrations, all races together.
        corrections: Minutes of watching and helping that are recorded; 0: no second training.
        driving: Minutes that each network is measured for.
        starts: How many standing starts each network is measured at.
        fit: Options of the first training.
        fit_again: Options of the second; the same words, and ``{corrections}`` for the folder of the corrections.
        niceness: Of the training.
    """

    folder: Path
    seed: int
    races: int
    minutes: float
    corrections: float
    driving: float
    starts: int
    fit: str
    fit_again: str
    niceness: int


class Evening:
    """Does the steps one after the other and writes down what each took.

    Args:
        plan: What to do.
        environment: Of the desktop.
    """

    def __init__(self, plan: Plan, environment: dict[str, str]) -> None:
        self._plan = plan
        self._folder = plan.folder
        self._environment = {
            **environment,
            "XDG_CONFIG_HOME": str(plan.folder / "config"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "COLUMNS": "120",
        }
        self._results_path = plan.folder / "evening.json"
        self.results: dict[str, Any] = {}
        if self._results_path.exists():
            self.results = json.loads(self._results_path.read_text(encoding="utf-8"))

    def run(self) -> None:
        """Do all that has not been done."""
        plan, episodes, corrections = self._plan, self._folder / "episodes" / NAME, self._folder / "episodes" / "again"
        self._save("plan", {**asdict(plan), "folder": plan.folder.name})
        self._step("games new", self._describe)
        self._step("doctor", lambda: self._agent("doctor", "--game", NAME, "--no-pad", "--picture", "seen.png"))
        self._step("record", lambda: self._record(episodes))
        first, second = self._folder / "runs" / "first", self._folder / "runs" / "second"
        self._step("fit", lambda: self._fit(episodes, first, plan.fit))
        self._step("drive", lambda: self._measure(first))
        if plan.corrections:
            self._step("corrections", lambda: self._correct(first, corrections))
            again = plan.fit_again.format(corrections=corrections)
            self._step("fit again", lambda: self._fit(episodes, second, again))
            self._step("drive again", lambda: self._measure(second))

    def _step(self, name: str, do: Callable[[], dict[str, Any]]) -> None:
        if name in self.results:
            return
        _note(name)
        began_s = time.monotonic()
        told = do()
        self._save(name, {"took_s": round(time.monotonic() - began_s, 1), **told})

    def _save(self, name: str, told: dict[str, Any]) -> None:
        self.results[name] = told
        self._results_path.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")

    # --- the five steps -----------------------------------------------------------------------------------------------

    def _describe(self) -> dict[str, Any]:
        """Answer the questions: the game's window, keys, and for all else what is proposed."""
        with self._game("describe"):
            command = [sys.executable, "-m", "agent", "games", "new"]
            asked = interview(command, answer_like_a_person, self._folder, self._environment)
        return {"questions": asked}

    def _record(self, episodes: Path) -> dict[str, Any]:
        plan = self._plan
        with (
            self._game("record") as log,
            self._beside("record", "record", "--game", NAME, "--out", str(episodes), "--wait"),
        ):
            self._wait_for("record", "F9")
            with self._person(log, Manner()) as person:
                rows = person.drive_races(plan.races, plan.minutes * 60 / plan.races, recorded=True)
        return {"person": figures(rows, []), "episodes": len(list(episodes.glob("*.parquet")))}

    def _fit(self, episodes: Path, run: Path, options: str) -> dict[str, Any]:
        command = ["training", "fit", "--game", NAME, "--data", str(episodes), *shlex.split(options), "--out", str(run)]
        if "--data" in shlex.split(options):
            command = ["training", "fit", "--game", NAME, *shlex.split(options), "--out", str(run)]
        self._module(run.name, *command, niceness=self._plan.niceness)
        return {"command": shlex.join(command).replace(str(self._folder), ".")}

    def _measure(self, run: Path) -> dict[str, Any]:
        """Let the network drive, help where it must be, and see it start."""
        name = f"drive-{run.name}"
        with (
            self._game(name) as log,
            self._beside(name, "drive", "--game", NAME, "--weights", str(run / "best"), "--json"),
        ):
            self._wait_for(name, "driving")
            with self._person(log, Manner()) as person:
                rows, spells = person.watch(self._plan.driving * 60, Patience())
                took = person.starts(self._plan.starts, 10.0)
        started = sum(seconds is not None for seconds in took)
        return {"network": figures(rows, spells), "starts": f"{started} of {len(took)}", "start_after_s": took}

    def _correct(self, run: Path, corrections: Path) -> dict[str, Any]:
        weights = ("--weights", str(run / "best"))
        with (
            self._game("correct") as log,
            self._beside("correct", "drive", "--game", NAME, *weights, "--record", str(corrections)),
        ):
            self._wait_for("correct", "driving")
            with self._person(log, Manner()) as person:
                rows, spells = person.watch(self._plan.corrections * 60, Patience(), races=3)
        helped_s = sum(spell.until_s - spell.from_s for spell in spells)
        return {"network": figures(rows, spells), "helped_s": round(helped_s, 1)}

    # --- programs -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _game(self, name: str) -> Iterator[Path]:
        """Run the game; yield its log."""
        log = self._folder / f"{name}.jsonl"
        log.unlink(missing_ok=True)
        options = ["--title", TITLE, "--seed", str(self._plan.seed), "--log", str(log)]
        game = subprocess.Popen(
            [sys.executable, "-m", "tests.road_game", *options],
            cwd=ROOT,
            env=self._environment,
            start_new_session=True,  # as from a terminal of its own: Linux shares out a busy processor by sessions
        )
        try:
            with self._person(log, Manner()):  # waits until there is a log
                time.sleep(1.0)
            yield log
        finally:
            game.terminate()
            game.wait()

    @contextmanager
    def _person(self, log: Path, manner: Manner) -> Iterator[Person]:
        with person_at(log, manner, self._plan.seed, self._environment["DISPLAY"]) as person:
            yield person

    @contextmanager
    def _beside(self, name: str, *arguments: str) -> Iterator[None]:
        """Run the agent beside what the person does, and end it by Ctrl-C."""
        with (self._folder / f"{name}.log").open("w", encoding="utf-8") as output:
            command = [sys.executable, "-m", "agent", *arguments]
            agent = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield
                if agent.poll() is not None:
                    raise RuntimeError(f"`{shlex.join(command[1:])}` ended early; see {output.name}.")
            finally:
                agent.send_signal(signal.SIGINT)
                agent.wait(60)

    def _wait_for(self, name: str, word: str) -> None:
        path, give_up_s = self._folder / f"{name}.log", time.monotonic() + _START_S
        while word not in path.read_text(encoding="utf-8"):
            if time.monotonic() > give_up_s:
                raise RuntimeError(f"{word!r} was not said within {_START_S:.0f} s; see {path}.")
            time.sleep(0.1)

    def _agent(self, *arguments: str) -> dict[str, Any]:
        with self._game(arguments[0]):
            self._module(arguments[0], "agent", *arguments)
        return {}

    def _module(self, name: str, *command: str, niceness: int = 0) -> None:
        path = self._folder / f"{name}.log"
        with path.open("w", encoding="utf-8") as output:
            done = subprocess.run(
                ["nice", "-n", str(niceness), sys.executable, "-m", *command],
                cwd=self._folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"`{shlex.join(command)}` ended with {done.returncode}; see {path}.")


def interview(
    command: list[str], answer: Callable[[str, str], str], folder: Path, environment: dict[str, str]
) -> list[str]:
    """Answer what a program asks.

    Args:
        command: The program; it asks on its standard output, and a question is a line that stays open for a second.
        answer: Gets all that was said so far and the question; returns the answer, empty for what is proposed.
        folder: Where it runs.
        environment: Its.

    Returns:
        The questions with the answers.

    Raises:
        RuntimeError: If it fails.
    """
    said, asked, told = "", [], 0
    with (
        subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program,
        selectors.DefaultSelector() as selector,
    ):
        assert program.stdin is not None
        assert program.stdout is not None
        selector.register(program.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=1.0):
                heard = os.read(program.stdout.fileno(), 4096).decode(errors="replace")
                if not heard:
                    break
                said += heard
            elif len(said) > told and not said.endswith("\n"):
                question, told = said[told:].splitlines()[-1].strip(), len(said)
                reply = answer(said, question)
                asked.append(f"{question} {reply}".strip())
                program.stdin.write(f"{reply}\n".encode())
                program.stdin.flush()
    if program.returncode:
        raise RuntimeError(f"`{shlex.join(command[1:])}` ended with {program.returncode}: {said[-400:]}")
    return asked


def answer_like_a_person(said: str, question: str) -> str:
    """Return what somebody with this game and a keyboard answers ``games new``; empty for what it proposes."""
    return next((reply(said) for pattern, reply in _ANSWERS if re.search(pattern, question)), "")


def _number_of_window(said: str) -> str:
    numbers = re.findall(rf"(\d+)  {TITLE}", said)
    if not numbers:
        raise RuntimeError(f"no window {TITLE!r} was offered: {said[-400:]}")
    return str(numbers[-1])


_ANSWERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    (r"(?i)short name", lambda said: NAME),
    (r"(?i)which window", _number_of_window),
    (r"(?i)what moves the car", lambda said: "keyboard"),
)


def table(results: dict[str, Any]) -> str:
    """Return the figures as the case that this repeats has them, in Markdown, and below each step's time."""
    lines = [
        "| network | interventions a minute | on the road | longest unaided | starts by itself | pictures a second |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for step, name in (("drive", "demonstrations alone"), ("drive again", "with corrections")):
        if step in results:
            told = results[step]["network"]
            lines.append(
                f"| {name} | {told['per_minute']} ({told['interventions']} in {told['seconds'] / 60:.1f} min) | "
                f"{told['on_road']:.1%} | {told['longest_m']:,} m | {results[step]['starts']} | "
                f"{told['pictures_per_s']} |"
            )
    lines += ["", "| step | seconds |", "| --- | --- |"]
    lines += [f"| {step} | {told['took_s']:.0f} |" for step, told in results.items() if "took_s" in told]
    return "\n".join(lines)


def _note(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def main() -> None:
    """Read the command line and spend the evening."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.road_game.evening", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where everything goes")
    parser.add_argument("--seed", type=int, default=0, help="of the track and the person's errors (default: 0)")
    parser.add_argument("--races", type=int, default=8, help="recorded, each from a standing start (default: 8)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of demonstrations (default: 10)")
    parser.add_argument("--corrections", type=float, default=3.0, help="minutes of corrections; 0: none (default: 3)")
    parser.add_argument("--driving", type=float, default=5.0, help="minutes each network is measured for (default: 5)")
    parser.add_argument("--starts", type=int, default=10, help="standing starts of each network (default: 10)")
    parser.add_argument("--fit", default=RECIPE, help=f"options of the training (default: {RECIPE})")
    parser.add_argument(
        "--fit-again",
        metavar="FIT",
        help="of the second, {corrections} being the corrections' folder (default: --fit, both folders as --data)",
    )
    parser.add_argument("--niceness", type=int, default=0, help="of the training (default: 0)")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    again = arguments.fit_again or f"--data episodes/{NAME} {{corrections}} {arguments.fit}"
    values = {**vars(arguments), "folder": folder, "fit_again": again}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and their children, ignore it
    with virtual_desktop() as environment, joined(environment):
        evening = Evening(Plan(**values), environment)
        evening.run()
    sys.stdout.write(table(evening.results) + "\n")


if __name__ == "__main__":
    main()
