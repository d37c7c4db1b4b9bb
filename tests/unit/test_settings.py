"""Settings: one check for Python and for the command line, one description for both."""

import ast
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.commands.options import Command, Entry, Parser, add_options, make_parser, read_settings
from agent.contract.errors import GameError, TrainingError
from agent.contract.profile import Capture, Region
from agent.games.registry import find_game
from agent.settings.base import Group, Settings, SettingsError, default_of, option, options_of
from agent.settings.checks import at_least_one, number, path, text
from agent.settings.drive import DriveSettings
from agent.settings.evaluate import EvaluateSettings
from agent.settings.shared import CaptureSettings
from training import cli as training_cli
from training.fitting.config import FitConfig
from training.fitting.settings import FitSettings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Wheels(Settings):
    wheels: int = field(default=4, metadata=option("how many", at_least_one, metavar="N"))


@dataclass(frozen=True, kw_only=True)
class Cart(Wheels):
    load: tuple[Path, ...] = field(metadata=option("what is on it", path, positional=True, several="together"))
    driver: str | None = field(default=None, metadata=option("who drives", text, excludes="who"))
    horse: str | None = field(default=None, metadata=option("who pulls", text, excludes="who"))
    speed: float = field(default=2.5, metadata=option("in m/s, 50 % uphill", number, group=Group("uphill")))
    roof: bool = field(default=True, metadata=option("in the open"))
    bell: bool = field(default=False, metadata=option("ring"))
    colour: str = field(default="red", metadata=option("of all", choices=("red", "green"), flag="paint"))
    marks: tuple[str, ...] = field(default=(), metadata=option("painted on", text, flag="mark", several="repeated"))
    serial: int = 7  # no option


def parse(*words: str) -> Cart:
    parser = Parser(prog="cart")
    add_options(parser, Cart)
    return read_settings(parser.parse_args(words), Cart)


def test_the_command_line_gives_what_python_gives() -> None:
    assert parse("hay") == Cart(load=(Path("hay"),))
    words = "hay coal --wheels 2 --horse Bo --speed 3 --no-roof --bell --paint green --mark x --mark y"
    assert parse(*words.split()) == Cart(
        load=(Path("hay"), Path("coal")),
        wheels=2,
        horse="Bo",
        speed=3.0,
        roof=False,
        bell=True,
        colour="green",
        marks=("x", "y"),
    )


def test_values_may_be_given_as_text() -> None:
    cart = Cart(load=["hay"], wheels="3", speed="1e1")  # type: ignore[arg-type]
    assert (cart.load, cart.wheels, cart.speed) == ((Path("hay"),), 3, 10.0)


@pytest.mark.parametrize(
    ("values", "words", "complaint"),
    [
        ({"wheels": 0}, ("--wheels", "0"), "0 is out of range, expected a whole number of 1 or more"),
        ({"wheels": "four"}, ("--wheels", "four"), "'four' is not a whole number"),
        ({"wheels": True}, None, "True is not a whole number"),
        ({"wheels": 2.0}, None, "2.0 is not a whole number"),
        ({"speed": float("nan")}, ("--speed", "nan"), "is not possible, expected a finite number"),
        ({"speed": None}, None, "None is not possible, expected a finite number"),
        ({"colour": "blue"}, ("--paint", "blue"), "'red', 'green'"),
        ({"driver": "Al", "horse": "Bo"}, ("--driver", "Al", "--horse", "Bo"), "not allowed with"),
        ({"roof": "no"}, None, "'no' is neither True nor False"),
        ({"load": "hay"}, None, "'hay' is a single value, expected a list of them"),
        ({"load": (3,)}, None, "3 is not a path"),
        ({"load": ("",)}, None, "an empty text is not a path: a variable of the shell may be unset"),
        ({"marks": (3,)}, None, "3 is not a text"),
    ],
)
def test_both_refuse_the_same_in_one_line(
    values: dict[str, Any], words: tuple[str, ...] | None, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError) as raised:
        Cart(**{"load": (Path("hay"),)} | values)
    told = str(raised.value)
    assert complaint.replace("'red', 'green'", "red, green") in told
    assert told.splitlines() == [told]
    assert list(values)[-1] in told
    if words is not None:
        with pytest.raises(SystemExit) as ended:
            parse("hay", *words)
        assert ended.value.code == 2
        assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_settings_are_frozen_and_complete() -> None:
    with pytest.raises(FrozenInstanceError):
        EvaluateSettings().tracks = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="load"):
        Cart()  # type: ignore[call-arg]


def test_the_help_says_the_default_of_every_option_that_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "how many (default: 4)" in told
    assert "in m/s, 50 % uphill (default: 2.5)" in told
    assert "uphill:" in told
    assert "--no-roof in the open --bell ring" in told
    assert told.index("--wheels N") < told.index("--driver")


def test_a_mistyped_option_gets_its_own_commands_usage_and_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    for main, command, word, meant in (
        (cli.main, "evaluate", "--trakcs", "--tracks"),
        (training_cli.main, "fit", "--bakbone=x", "--backbone"),
    ):
        required = ["--data", "d", "--out", "o"] if command == "fit" else []
        with pytest.raises(SystemExit) as ended:
            main([command, *required, word])
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert f"{command} [-h]" in told.splitlines()[0]
        assert told.splitlines()[-1].endswith(f"unrecognized arguments: {word} (did you mean {meant}?)")


def all_commands() -> list[tuple[str, Command[Any]]]:
    entries = [*cli.COMMANDS, *training_cli.COMMANDS]
    loaded = [(entry.name, entry.load()) for entry in entries]
    return loaded + [(action.name, action.load()) for _, command in loaded for action in command.actions]


@pytest.mark.parametrize(("name", "command"), all_commands())
def test_every_default_passes_its_own_check(name: str, command: Command[Any]) -> None:
    for each, described in options_of(command.settings):
        default = default_of(each)
        if isinstance(default, bool | int | float | str | tuple):
            assert described.checked(default) == default, each.name


def test_every_command_has_settings_of_its_own() -> None:
    commands = [command for name, command in all_commands() if name not in ("games", "new", "weights", "list")]
    assert all(options_of(command.settings) for command in commands)
    assert len({command.settings for command in commands}) == len(commands) - 5, "episodes' actions share theirs"


def test_nobody_but_the_command_line_knows_argparse() -> None:
    allowed = {"agent/commands/options.py", "agent/commands/program.py"}
    found = set()
    for package in ("agent", "training"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if "argparse" in names or (isinstance(node, ast.ImportFrom) and node.module == "argparse"):
                    found.add(file.relative_to(ROOT).as_posix())
    assert found == allowed


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(GameError, match="Leave --real-time out"):
        EvaluateSettings(driver="expert", real_time=True)
    with pytest.raises(SettingsError, match="seconds: not allowed with laps"):
        DriveSettings(laps=2, seconds=3.0)


def test_the_options_of_other_commands_are_not_even_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("agent.commands.options.add_options", lambda parser, settings: made.append(settings))
    commands = [
        Entry(name, "move", Command(settings=Wheels, run=lambda settings, invocation: 0)) for name in ("go", "stop")
    ]
    make_parser("cart", "A cart.", "", commands).parse_args(["go"])
    assert made == [Wheels]


def test_what_is_captured_is_the_profiles_unless_told_otherwise() -> None:
    profile = find_game("gta5").profile
    assert profile.capture is not None
    assert CaptureSettings().where_to_look(profile) == profile.capture
    told = CaptureSettings(monitor=2, region="1,2,30,40")  # type: ignore[arg-type]
    assert told.where_to_look(profile) == Capture(None, 2, Region(1, 2, 30, 40))


def test_a_runs_record_holds_what_decides_its_outcome_alone() -> None:
    settings = FitSettings((Path("d"),), Path("o"), game="torcs", workers=2, quiet=True, masks=("0,0,0.5,0.5", "none"))  # type: ignore[arg-type]
    config = settings.config(init="other")
    assert type(config) is FitConfig
    assert (config.name, config.init, config.masks) == ("torcs", "other", ((0.0, 0.0, 0.5, 0.5),))
    assert "workers" not in config.to_json()
    with pytest.raises(TrainingError, match="go together"):
        FitSettings((Path("d"),), Path("o"), worker=1)


@pytest.mark.parametrize("room", ["agent/sessions", "agent/measuring", "training/sessions"])
def test_what_a_command_runs_prints_nothing_itself(room: str) -> None:
    for file in sorted((ROOT / room).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        spoken = {call.id for call in calls if isinstance(call, ast.Name)} & {"print", "input"}
        streams = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {"stdout", "stderr"}
        assert not spoken | streams, file
