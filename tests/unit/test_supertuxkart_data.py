"""SuperTuxKart's data: where they are looked for, the folder of links, and what is said where there are none."""

from pathlib import Path

import pytest

from agent.contract.errors import GameError
from agent.games.supertuxkart import data as module
from agent.games.supertuxkart.data import find_data, link_data


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """What Debian's package installs, in small."""
    data = tmp_path / "debian" / "data"
    for folder in ("tracks/lighthouse", "karts/tux", "skins/peach", "skins/ocean"):
        (data / folder).mkdir(parents=True)
    for file in ("stk_config.xml", "supertuxkart.1.4", "skins/peach/stkskin.xml"):
        (data / file).write_text(file)
    return data


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without data; returns the folder that caches are in."""
    monkeypatch.delenv("SUPERTUXKART_DATADIR", raising=False)
    monkeypatch.setattr(module, "DEBIAN_DATA", tmp_path / "nothing")
    monkeypatch.setattr(module, "user_cache_path", lambda name, *author, **options: tmp_path / "cache" / name)
    return tmp_path / "cache"


def test_links_give_the_binding_its_version_and_its_skin(debian: Path, tmp_path: Path) -> None:
    folder = link_data(debian, tmp_path / "links", "1.5")
    assert folder == tmp_path / "links"
    assert (folder / "data" / "supertuxkart.1.5").is_file()
    assert (folder / "data" / "tracks" / "lighthouse").is_dir()
    assert (folder / "data" / "stk_config.xml").read_text() == "stk_config.xml"
    assert (folder / "data" / "skins" / "classic" / "stkskin.xml").read_text() == "skins/peach/stkskin.xml"
    assert sorted(path.name for path in (folder / "data" / "skins").iterdir()) == ["classic", "ocean", "peach"]
    assert (folder / "data" / "tracks").is_symlink()
    assert sorted(path.name for path in debian.rglob("*") if "1.5" in path.name or path.name == "classic") == []


def test_links_are_made_again_where_the_game_has_moved(debian: Path, tmp_path: Path) -> None:
    link_data(debian, tmp_path / "links", "1.5")
    moved = debian.parent.rename(tmp_path / "moved") / "data"
    assert not (tmp_path / "links" / "data" / "tracks").exists()
    for _ in range(2):
        link_data(moved, tmp_path / "links", "1.5")
        assert (tmp_path / "links" / "data" / "tracks" / "lighthouse").is_dir()
    assert not list((tmp_path / "links").rglob(".*"))


def test_a_skin_of_the_binding_s_own_is_kept(debian: Path, tmp_path: Path) -> None:
    (debian / "skins" / "classic").mkdir()
    folder = link_data(debian, tmp_path / "links", "1.5")
    assert (folder / "data" / "skins" / "classic").readlink() == debian / "skins" / "classic"


def test_a_folder_that_holds_no_game_is_refused(debian: Path, tmp_path: Path) -> None:
    (debian / "stk_config.xml").unlink()
    with pytest.raises(GameError, match=r"lacks stk_config.xml.*apt install --reinstall supertuxkart-data"):
        link_data(debian, tmp_path / "links", "1.5")


def test_links_that_cannot_be_made_are_told_in_one_line(debian: Path, tmp_path: Path) -> None:
    (tmp_path / "links").write_text("in the way")
    with pytest.raises(GameError, match="cannot hold links"):
        link_data(debian, tmp_path / "links", "1.5")


def test_the_user_s_own_data_come_first_then_the_downloaded_then_debian_s(
    debian: Path, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEBIAN_DATA", debian)
    assert find_data("1.5") == nowhere / "hoodcam" / "supertuxkart"
    downloaded = nowhere / "PySuperTuxKart2" / "1.5"
    downloaded.mkdir(parents=True)
    assert find_data("1.5") == nowhere / "hoodcam" / "supertuxkart"  # a download that was cut off
    (downloaded / "__downloaded__.txt").write_text("done")
    assert find_data("1.5") == downloaded
    monkeypatch.setenv("SUPERTUXKART_DATADIR", str(tmp_path))
    assert find_data("1.5") == tmp_path


def test_missing_data_are_told_with_the_package_that_has_them(nowhere: Path) -> None:
    with pytest.raises(GameError, match=r"neither in .*PySuperTuxKart2/1.5 nor in .*apt install supertuxkart"):
        find_data("1.5")
