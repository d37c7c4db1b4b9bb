"""The game in other colours: what is repainted, what is left, and that a seed paints the same twice."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.contract.errors import GameError, TrainingError
from training.collecting.collect import CollectConfig
from training.collecting.repaint_supertuxkart import disguise_data, repaint

RNG = np.random.default_rng


def brick(height: int = 40, width: int = 24, channels: int = 3) -> np.ndarray:
    return np.ascontiguousarray(RNG(0).integers(90, 130, (height, width, channels)), np.uint8)


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """A game's data with nine textures in each of three places."""
    data = tmp_path / "data"
    for folder in ("textures", "textures/skybox", "tracks/lighthouse", "tracks/sandtrack", "karts/tux"):
        (data / folder).mkdir(parents=True)
        for index in range(9):
            cv2.imwrite(str(data / folder / f"{index}.png"), brick())
        (data / folder / "materials.xml").write_text("<materials/>")
        (data / folder / "broken.png").write_bytes(b"no picture")
        (data / folder / "track.spm").write_bytes(b"a model")
    cv2.imwrite(str(data / "tracks/lighthouse/sshot-lighthouse.png"), brick())
    (data / "stk_config.xml").touch()
    return data


def pictures(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(folder / f"{index}.png")) for index in range(9)]


def test_the_given_tracks_and_what_all_share_are_repainted_and_nothing_else(game: Path, tmp_path: Path) -> None:
    painted = disguise_data(game, tmp_path / "painted", "1.5", ["lighthouse"], seed=3) / "data"
    for folder, changed in (
        ("textures", 6),
        ("textures/skybox", 6),
        ("tracks/lighthouse", 6),
        ("tracks/sandtrack", 0),
        ("karts/tux", 0),
    ):
        others = sum(not np.array_equal(picture, brick()) for picture in pictures(painted / folder))
        assert changed <= others <= (9 if changed else 0)  # some are kept everywhere
        assert sorted(file.name for file in (painted / folder).iterdir()) == sorted(
            file.name for file in (game / folder).iterdir()
        )
        assert (painted / folder / "materials.xml").read_text() == "<materials/>"
        assert (painted / folder / "broken.png").read_bytes() == b"no picture"
        assert all(np.array_equal(picture, brick()) for picture in pictures(game / folder))
        assert (painted / folder / "track.spm").read_bytes() == b"a model"
    model = painted / "tracks/lighthouse/track.spm"
    assert model.resolve().parent == painted / "tracks/lighthouse"  # beside its textures, where the game looks for them
    assert (painted / "tracks/lighthouse/sshot-lighthouse.png").is_symlink()
    assert (painted / "supertuxkart.1.5").exists()


def test_what_is_no_colour_is_left(game: Path, tmp_path: Path) -> None:
    """A mask that is repainted cuts other holes, a normal map turns the light: that is no other colour."""
    (game / "textures" / "materials.xml").write_text(
        '<materials>\n  <material name="a.png" mask="0.png" normal-map = "1.png"/>\n'
        '  <material name="b.png" gloss-map="2.png" colorization-mask="3.png" clampu="Y"/>\n</materials>\n'
    )
    for seed in range(4):
        data = disguise_data(game, tmp_path / str(seed), "1.5", [], seed) / "data"
        assert all(np.array_equal(picture, brick()) for picture in pictures(data / "textures")[:4])


def test_a_seed_paints_the_same_and_another_something_else(game: Path, tmp_path: Path) -> None:
    seen = []
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        data = disguise_data(game, tmp_path / name, "1.5", ["lighthouse"], seed) / "data"
        seen.append(np.stack(pictures(data / "textures") + pictures(data / "tracks/lighthouse")))
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def test_large_textures_are_made_smaller_in_proportion(game: Path, tmp_path: Path) -> None:
    for index in range(9):
        cv2.imwrite(str(game / "textures" / f"{index}.png"), brick(512, 1024))
    data = disguise_data(game, tmp_path / "painted", "1.5", [], seed=3) / "data"
    assert {picture.shape for picture in pictures(data / "textures")} == {(512, 1024, 3), (128, 256, 3)}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_texture_keeps_its_shape_and_what_is_transparent(channels: int) -> None:
    texture = brick(channels=channels)
    if channels == 4:
        texture[..., 3] = RNG(1).integers(0, 256, texture.shape[:2])
    texture = texture[..., 0] if channels == 1 else texture
    before = texture.copy()
    for seed in range(8):
        painted = repaint(texture, RNG(seed))
        assert painted.dtype == np.uint8
        assert painted.shape == (40, 24, 4 if channels == 4 else 3)
        if channels == 4:
            assert np.array_equal(painted[..., 3], texture[..., 3])
    assert np.array_equal(texture, before)


def test_colours_of_the_seen_part_decide_what_the_mean_is() -> None:
    """What is transparent is often painted black; counted in, it would make every leaf too bright."""
    leaf = brick(channels=4)
    leaf[..., 3] = 255
    half = leaf.copy()
    half[20:, :, :3], half[20:, :, 3] = 0, 0
    for seed in range(8):
        whole, seen = (repaint(texture, RNG(seed))[:20, :, :3].astype(float).mean() for texture in (leaf, half))
        assert seen == pytest.approx(whole, abs=6.0)


def test_a_game_that_is_not_there_and_one_that_cannot_be_repainted_are_told(tmp_path: Path) -> None:
    with pytest.raises(GameError, match="lacks tracks, karts"):
        disguise_data(tmp_path, tmp_path / "painted", "1.5", [], seed=0)
    for folder in ("tracks", "karts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "stk_config.xml").touch()
    with pytest.raises(TrainingError, match=r"cannot be repainted into .* expected textures and tracks"):
        disguise_data(tmp_path, tmp_path / "painted", "1.5", [], seed=0)
    with pytest.raises(TrainingError, match="carracing cannot be repainted, only supertuxkart can"):
        CollectConfig(tmp_path, 0, 1, disguise=True).settings()
