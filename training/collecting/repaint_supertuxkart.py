"""SuperTuxKart in other colours: its data with the textures repainted, for roads that no track shows."""

import colorsys
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.errors import TrainingError
from agent.games.supertuxkart.data import link_data

EPISODES = 3
"""Driven in one disguise. Painting one takes about 10 s of a core, driving an episode 15 to 30."""

_KEPT = 0.2  # share of the textures that stay as they are
_LARGEST_PX = 256  # larger ones are made smaller: the road fills 160 x 90 px in the end
_PICTURES = (".png", ".jpg", ".jpeg")
_OTHER_MAPS = re.compile(r'\b(?:mask|colorization-mask|normal-map|gloss-map)\s*=\s*"([^"]+)"')

Picture = npt.NDArray[np.uint8]


def disguise_data(source: Path, folder: Path, version: str, tracks: Collection[str], seed: int) -> Path:
    """Build a folder of links to the game's data in which the textures are repainted; the game itself stays as it is.

    A texture keeps its name, its proportions and what is transparent; so the same race is driven, between other
    colours. What the tracks share in ``textures`` is repainted, and what the given tracks have in folders of their own;
    karts, items, the display and the objects of ``library`` are not.

    After "Domain Randomization for Transferring Deep Neural Networks from Simulation to the Real World" (Tobin et al.,
    2017).

    Args:
        source: The game's ``data``.
        folder: What to build, of about 90 MB; it must be empty, or not be there.
        version: What the binding asks for, see ``link_data``.
        tracks: Those to repaint; others keep their own textures.
        seed: Of everything drawn; the same paints the same.

    Returns:
        ``folder``, for ``agent.games.supertuxkart.data.DATA_VARIABLE``.

    Raises:
        GameError: If ``source`` does not hold a game's data, or links cannot be made.
        TrainingError: If the textures cannot be read, or ``folder`` not be written.
    """
    rng = np.random.default_rng(seed)
    source = source.resolve()  # links are to lead there from everywhere
    link_data(source, folder, version)
    data = folder / "data"
    try:
        for name in ("textures", "tracks"):
            (data / name).unlink()
        _repaint_folder(source / "textures", data / "textures", rng)
        (data / "tracks").mkdir()
        for track in sorted((source / "tracks").iterdir()):
            if track.name in tracks:
                _repaint_folder(track, data / "tracks" / track.name, rng)
            else:
                (data / "tracks" / track.name).symlink_to(track)
    except OSError as exc:
        raise TrainingError(
            f"{source} cannot be repainted into {folder} ({exc.strerror}: {exc.filename}), expected textures and "
            "tracks in the one, room for 90 MB and links in the other. Free some room, choose another --out, or leave "
            "--disguise out."
        ) from exc
    return folder


def repaint(texture: Picture, rng: np.random.Generator) -> Picture:
    """Draw other colours for a texture: a base colour in place of its mean, its pattern weaker or stronger, spots.

    Args:
        texture: uint8, shape (height, width), (height, width, 3) or (height, width, 4): grey, BGR or BGRA.
        rng: What is drawn from.

    Returns:
        uint8, BGR, or BGRA with the same alpha.
    """
    height, width = texture.shape[:2]
    transparent = texture.ndim == 3 and texture.shape[2] == 4
    alpha = texture[..., 3] if transparent else np.full((height, width), 255, np.uint8)
    colours = cv2.cvtColor(texture, cv2.COLOR_GRAY2BGR) if texture.ndim == 2 else texture[..., :3]
    seen = alpha / np.float32(255.0) + np.float32(1e-3)
    pattern = colours - np.average(colours, axis=(0, 1), weights=seen)
    if rng.random() < 0.5:
        pattern = pattern.mean(axis=2, keepdims=True)
    base = 255.0 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.beta(1.2, 2.0), rng.uniform(0.08, 0.95)))
    painted = base + rng.uniform(0.3, 1.6) * pattern
    if rng.random() < 0.5:
        across = int(rng.integers(2, 9))
        spots = rng.normal(0.0, rng.uniform(5.0, 45.0), (across, across))
        painted = painted + cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)[..., np.newaxis]
    clipped: Picture = np.clip(painted, 0, 255).astype(np.uint8)
    return np.dstack((clipped, alpha)) if transparent else clipped


def _repaint_folder(source: Path, folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    kept = _no_colours(source)
    for file in sorted(source.iterdir()):
        if file.is_dir():  # of skies
            _repaint_folder(file, folder / file.name, rng)
            continue
        chosen, own_seed = rng.random() >= _KEPT, int(rng.integers(2**31))
        texture = None
        if chosen and file.suffix.lower() in _PICTURES and file.name not in kept:
            texture = _read(file)
        if texture is not None:
            _write(folder / file.name, repaint(texture, np.random.default_rng(own_seed)))
        elif file.suffix == ".spm":  # a model's textures are looked for beside it, wherever a link leads
            (folder / file.name).write_bytes(file.read_bytes())
        else:
            (folder / file.name).symlink_to(file)


def _no_colours(folder: Path) -> set[str]:
    """Return the names of pictures that say something else: what is cut out, how light falls, the menu's picture."""
    materials = folder / "materials.xml"
    text = materials.read_text(encoding="utf-8", errors="replace") if materials.is_file() else ""
    return set(_OTHER_MAPS.findall(text)) | {
        file.name for file in folder.iterdir() if file.name.startswith(("sshot", "screenshot"))
    }


def _read(file: Path) -> Picture | None:
    """Return a texture, made smaller where it is large; None for one that OpenCV or ``repaint`` does not know."""
    texture: Any = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if texture is None or texture.dtype != np.uint8:
        return None
    scale = _LARGEST_PX / max(texture.shape[:2])
    if scale < 1.0:
        texture = cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(texture)


def _write(file: Path, texture: Picture) -> None:
    ok, data = cv2.imencode(file.suffix, texture, [cv2.IMWRITE_PNG_COMPRESSION, 1] if file.suffix == ".png" else [])
    if not ok:
        raise TrainingError(f"{file} cannot be encoded, expected a PNG or JPEG texture.")
    file.write_bytes(data.tobytes())
