"""Finds SuperTuxKart's data (tracks, karts, textures), which the binding needs but does not contain."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from agent.contract.errors import GameError

DATA_VARIABLE = "SUPERTUXKART_DATADIR"
"""The environment variable from which the game and the binding take the folder above ``data``."""
DEBIAN_DATA = Path("/usr/share/games/supertuxkart/data")
_NEEDED = ("tracks", "karts", "stk_config.xml")
_SKIN, _SKIN_INSTEAD = "classic", "peach"


def find_data(version: str) -> Path:
    """Return the folder above ``data`` for the binding: the user's, a downloaded one, or links to Debian's.

    Args:
        version: Version of the data that the binding asks for, such as ``1.5``.

    Raises:
        GameError: If there are no data.
    """
    named = os.environ.get(DATA_VARIABLE)
    if named is not None:
        return Path(named)
    downloaded = user_cache_path("PySuperTuxKart2", "bpiwowar") / version  # the binding downloads to here
    if (downloaded / "__downloaded__.txt").is_file():
        return downloaded
    if DEBIAN_DATA.is_dir():
        return link_data(DEBIAN_DATA, user_cache_path("hoodcam", appauthor=False) / "supertuxkart", version)
    raise GameError(
        f"SuperTuxKart's data are neither in {downloaded} nor in {DEBIAN_DATA}, expected tracks and karts in one of "
        "them. On Debian and Ubuntu, `apt install supertuxkart` (700 MB). Elsewhere, let the binding download them: "
        "`python -c 'import pystk2; pystk2.init(pystk2.GraphicsConfig.none())'`. Or name the folder above the game's "
        f"`data` in the variable {DATA_VARIABLE}."
    )


def link_data(source: Path, folder: Path, version: str) -> Path:
    """Build a folder of links, through which the binding accepts a game of another version.

    The binding needs a file named after its data's version, and a skin that Debian leaves out. May be called again, and
    by several processes at once.

    Args:
        source: The game's ``data``.
        folder: The folder to build; its ``data`` holds the links.
        version: The version that the binding asks for.

    Returns:
        ``folder``.

    Raises:
        GameError: If ``source`` does not hold a game's data, or the links cannot be made.
    """
    missing = [name for name in _NEEDED if not (source / name).exists()]
    if missing:
        raise GameError(
            f"{source} lacks {', '.join(missing)}, expected the data of SuperTuxKart. Install the game again "
            "(`apt install --reinstall supertuxkart-data`)."
        )
    data = folder / "data"
    try:
        (data / "skins").mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            if entry.name != "skins":
                _link(data / entry.name, entry)
        if (source / "skins").is_dir():
            for entry in (source / "skins").iterdir():
                _link(data / "skins" / entry.name, entry)
        if not (source / "skins" / _SKIN).exists():
            _link(data / "skins" / _SKIN, source / "skins" / _SKIN_INSTEAD)
        (data / f"supertuxkart.{version}").touch()
    except OSError as exc:
        raise GameError(
            f"{data} cannot hold links to {source} ({exc.strerror}), expected a writable folder. Free "
            f"some space, or name the folder above the game's `data` in the variable {DATA_VARIABLE}."
        ) from exc
    return folder


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.replace(fresh, link)
