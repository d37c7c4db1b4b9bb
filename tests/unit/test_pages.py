"""What the Markdown pages say exists: links, files, modules, and commands that the real command line accepts."""

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import agent.cli
import training.cli

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "model_weights/*/*.md", "tests/**/README.md")
    for path in ROOT.glob(pattern)
)
PROFILES = sorted(path.relative_to(ROOT) for path in ROOT.glob("agent/games/profiles/*.toml"))
README_BYTES = 7000
MESSAGES = re.findall(r"^\| `([^`]+)`", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HINT = re.compile(r"`(python -m (?:agent|training) [^`]+)`")
_PATH = re.compile(r"(?<![\w/.-])(?:agent|training|tests|docs|scripts|model_weights|\.ci)/[\w./-]*[\w/]")
_TEST = re.compile(r"(?<![\w/])test_\w+\.py")
_DOTTED = re.compile(r"(?<![\w/.-])(?:agent|training)(?:\.\w+)+")
_MADE_LATER = re.compile(r"NAME|FOLDER")  # what the reader puts in

# What stands for something of the reader's own, and something of its kind.
_STANDS_FOR = {"NAME": "carracing-window", "RULE": "v3", "TRACK": "lighthouse"}


class _Accepted(BaseException):
    """Ends a program where its command line has been read."""


@pytest.fixture
def accepts(monkeypatch):
    """Return what tells whether the real command line accepts a command, which is not run."""
    parse_args = argparse.ArgumentParser.parse_args

    def read_and_end(*args, **kwargs):
        parse_args(*args, **kwargs)
        raise _Accepted

    def accepts(words):
        program = {"agent": agent.cli, "training": training.cli}[words[2]]
        # For a command that is only named, it is enough that it exists.
        arguments = words[3:] if len(words) > 4 else [words[3], "--help"]
        try:
            program.main(arguments)
        except _Accepted:
            return True
        except SystemExit as exc:
            return exc.code == 0
        raise AssertionError(f"{words} ran without its command line having been read")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read_and_end)
    return accepts


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_of_a_page_leads_to_a_file(page):
    links = [link.partition("#")[0] for link in _LINK.findall(_FENCE.sub("", _text(page)))]
    relative = [link for link in links if link and "://" not in link]
    missing = [link for link in relative if not (ROOT / page.parent / link).exists()]
    assert not missing, f"{page} links to what is not there: {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_and_module_that_a_page_names_exists(page):
    text = " ".join(_codes(page))
    paths = {path for path in _PATH.findall(text) if not _MADE_LATER.search(path)}
    missing = [path for path in sorted(paths) if not (ROOT / path).exists()]
    missing += [name for name in sorted(set(_TEST.findall(text))) if not any((ROOT / "tests").rglob(name))]
    missing += [name for name in sorted(set(_DOTTED.findall(text))) if not _defined(name)]
    assert not missing, f"{page} names what is not there: {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_of_a_page_is_accepted_by_the_real_command_line(page, accepts, capsys):
    for line in _commands(page):
        assert accepts(line), f"{page} shows `{shlex.join(line)}`, which is refused: {capsys.readouterr().err}"


def test_the_pages_show_many_commands_so_that_the_check_above_checks_something():
    lines = [line for page in PAGES for line in _commands(page)]
    assert len(lines) >= 60
    assert {line[2] for line in lines} == {"agent", "training"}


@pytest.mark.parametrize(
    "line",
    [
        "python -m agent drive --speed 15",
        "python -m agent fly",
        "python -m training fit --balance v9 --data a --out b",
        "python -m training fit --data a",
    ],
)
def test_a_command_that_the_command_line_refuses_is_noticed(line, accepts):
    assert not accepts(shlex.split(line))


def test_every_command_that_a_text_of_the_programs_advises_exists_with_its_options(accepts, capsys):
    texts = [*_texts_of_the_programs(), *map(_text, PROFILES)]
    advised = {" ".join(hint.split()) for text in texts for hint in _HINT.findall(text)}
    assert len(advised) >= 15
    for hint in sorted(advised):  # what the reader has to fill in may be missing: "`python -m training fit`"
        told = f"`{hint}` is advised and refused"
        assert accepts(shlex.split(hint)) or "arguments are required" in capsys.readouterr().err, told


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_python_example_of_a_page_is_python(page):
    for language, code in _FENCE.findall(_text(page)):
        if language == "python":
            ast.parse(code)


@pytest.mark.parametrize("page", [page.stem for page in PAGES if page.parent == Path("docs")])
def test_every_page_is_in_the_contents_of_the_site(page):
    contents = (ROOT / "docs/conf.py").read_text(encoding="utf-8")
    assert f"\ndocs/{page}\n" in contents, f"docs/conf.py lists no docs/{page}: the site would be built with a warning"


def test_the_map_shows_every_room():
    rooms = {
        f"`{path.parent.relative_to(ROOT).as_posix()}/`"
        for package in ("agent", "training")
        for path in (ROOT / package).glob("*/*.py")
        if path.name != "__init__.py"
    }
    page = _text(Path("docs/architecture.md"))
    assert len(rooms) >= 15
    assert not {room for room in rooms if room not in page}


def test_the_readme_is_one_page():
    assert (ROOT / "README.md").stat().st_size <= README_BYTES


def test_the_readme_shows_the_two_lines_that_ci_runs():
    readme = _text(Path("README.md"))
    tests = 'python -m pip install -e ".[test]" && python -m pytest\n'
    assert f"```\n{tests}```" in readme
    assert "```\npython -m pip install . && python -m agent drive\n```" in readme
    assert tests.partition("-e")[2] in (ROOT / ".ci/run").read_text()  # there pip is asked to be quiet as well


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_of_the_troubleshooting_page_is_one_that_the_programs_say(message):
    parts = [part for part in re.split(r"\.\.\.|\d[\d.]*|[A-Z]{4,}", message) if len(part.strip()) > 3]
    assert parts, f"nothing in {message!r} can be looked for"
    missing = [part for part in parts if not any(part.strip() in text for text in _texts_of_the_programs())]
    assert not missing, f"no text in agent/ or training/ says {missing}; the page has {message!r}"


def _text(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _codes(page: Path) -> Iterator[str]:
    """Yield what a page sets as code, in blocks and in lines of text."""
    text = _text(page)
    yield from (code for _, code in _FENCE.findall(text))
    yield from _INLINE.findall(_FENCE.sub("", text))


def _commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every `python -m agent ...` and `python -m training ...` of a page."""
    for code in _codes(page):
        variables: dict[str, str] = {}
        for line in code.replace("\\\n", " ").splitlines():
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            for words in _split(line):
                if len(words) == 1 and (assigned := re.fullmatch(r"([A-Z]+)=(.*)", words[0])):
                    variables[assigned[1]] = assigned[2]
                if words[:2] == ["python", "-m"] and words[2] in ("agent", "training") and len(words) > 3:
                    yield [_STANDS_FOR.get(word, word) for word in words]


def _split(line: str) -> Iterator[list[str]]:
    """Yield the commands of a line of shell, without comments and without what follows a redirection."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    command: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set("&|;<>"):
                yield command
                command = []
            else:
                command.append(word)
    except ValueError:  # an apostrophe: a line of text, not of shell
        return
    yield command


@cache
def _texts_of_the_programs() -> list[str]:
    """Return every text in the code, in one piece where it is written in several, with NAME for what is filled in."""
    texts = []
    for path in (path for package in ("agent", "training") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(_constant(part) or "NAME" for part in node.values))
            elif text := _constant(node):
                texts.append(text)
    return texts


def _constant(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _defined(name: str) -> bool:
    """Return whether a dotted name is a module or package, or is defined in one."""
    path = ROOT / name.replace(".", "/")
    if path.with_suffix(".py").exists() or path.is_dir():
        return True
    module = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    return module.exists() and re.search(rf"\b{path.name}\b", module.read_text(encoding="utf-8")) is not None
