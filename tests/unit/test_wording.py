"""What the program calls itself and its installation, where there is a checkout and where there is none."""

from pathlib import Path

import pytest

from agent.contract import wording
from agent.contract.wording import as_installed


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "_FOLDER", tmp_path)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("next: python -m agent doctor", "next: hoodcam doctor"),
        ("`python -m agent weights get road` fetches", "`hoodcam weights get road` fetches"),
        ("`pip install '.[keyboard]'`.", "`pip install 'hoodcam[keyboard]'`."),
        ('`python -m pip install ".[training]"`', "`python -m pip install 'hoodcam[training]'`"),
        ("`pip install -e '.[training]'`", "`pip install 'hoodcam[training]'`"),
        ("`python -m pip install .` again", "`python -m pip install --force-reinstall hoodcam` again"),
        ("`pip install '.'` again", "`pip install --force-reinstall hoodcam` again"),
        ("`python -m training fit`", "`python -m training fit`"),
        ("see docs/profiles.md", "see the project's docs/profiles.md"),
        ("wrote docs/mine.md and /srv/docs/safety.md", "wrote docs/mine.md and /srv/docs/safety.md"),
    ],
)
def test_commands_are_those_that_work_without_a_checkout(installed: None, written: str, shown: str) -> None:
    assert as_installed(written) == shown


def test_in_a_checkout_nothing_changes() -> None:
    text = "`python -m agent drive`, `pip install '.[training]'`, docs/limits.md"
    assert as_installed(text) == text


def test_help_errors_and_bad_usage_say_so_too(installed: None, capsys: pytest.CaptureFixture[str]) -> None:
    from agent.cli import main

    with pytest.raises(SystemExit):
        main(["drive", "--help"])
    said = capsys.readouterr().out
    assert "usage: hoodcam drive" in said
    assert "example: hoodcam drive" in said
    with pytest.raises(SystemExit):
        main(["drive", "--nonsense"])
    assert "hoodcam drive: error: " in capsys.readouterr().err
    assert main(["drive", "--game", "carracing-window", "--window", "x", "--weights", "/nowhere"]) == 1
    assert "python -m agent" not in capsys.readouterr().err
