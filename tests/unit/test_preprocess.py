"""Preprocessing: the exact pixels that weights were trained on, from any frame, with nothing hidden showing through."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.observation import Frame, Observation, Pixels
from agent.contract.preprocess import preprocess
from agent.contract.profile import Rectangle
from agent.contract.spec import ModelSpec

SIZES = st.integers(1, 96)
FRACTIONS = st.floats(0, 0.75)
MASKS = st.builds(Rectangle, FRACTIONS, FRACTIONS, st.floats(0.01, 0.25), st.floats(0.01, 0.25))
CARRACING_BAR = (Rectangle(0.0, 0.875, 0.1125, 0.125), Rectangle(0.1625, 0.875, 0.4625, 0.125))


def spec_for(width_px: int, height_px: int, masks: Sequence[Rectangle] = ()) -> ModelSpec:
    return ModelSpec("tiny", "none", "carracing", width_px=width_px, height_px=height_px, masks=tuple(masks))


def see(pixels: Pixels, width_px: int = 480, height_px: int = 270, masks: Sequence[Rectangle] = ()) -> Observation:
    return preprocess(Frame(pixels, captured_ns=0), spec_for(width_px, height_px, masks))


def grey(rows: Sequence[Sequence[int]]) -> Pixels:
    """A BGR picture of the given brightness."""
    return np.repeat(np.array(rows, np.uint8)[:, :, None], 3, axis=2)


def picture(width: int, height: int) -> Pixels:
    """A deterministic BGR picture of gradients with fine detail and hard edges, different in every channel."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    channels = (x * 7 + y * 3, x * y // 11 + x, x * 13 + y * 29 + x * x // 50)
    return np.stack(channels, axis=2).astype(np.uint8)


def inside(rectangle: Rectangle, pixels: Pixels, margin_px: int = 0) -> tuple[slice, slice]:
    """Rows and columns of all pixels that a rectangle touches, and of a margin around them."""
    height, width = pixels.shape[:2]
    top, bottom = math.floor(rectangle.top * height), math.ceil((rectangle.top + rectangle.height) * height)
    left, right = math.floor(rectangle.left * width), math.ceil((rectangle.left + rectangle.width) * width)
    return (
        slice(max(0, top - margin_px), bottom + margin_px),
        slice(max(0, left - margin_px), right + margin_px),
    )


def check_observation(pixels: Pixels, width_px: int, height_px: int) -> None:
    before = pixels.copy()
    pixels.flags.writeable = False
    observation = see(pixels, width_px, height_px, [Rectangle(0.0, 0.0, 0.01, 0.01)])
    assert observation.shape == (height_px, width_px, 3)
    assert observation.dtype == np.uint8
    assert not np.shares_memory(observation, pixels)
    assert observation.flags.writeable
    assert (pixels == before).all()


@settings(max_examples=40)
@given(SIZES, SIZES, st.sampled_from([3, 4]), SIZES, SIZES)
def test_any_frame_gives_a_new_observation_of_the_specs_shape(
    width: int, height: int, channels: int, width_px: int, height_px: int
) -> None:
    check_observation(np.full((height, width, channels), 9, np.uint8), width_px, height_px)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 900), (1400, 1), (480, 270), (1400, 900)])
def test_extreme_frames_give_a_new_observation_of_the_specs_shape(width: int, height: int, channels: int) -> None:
    check_observation(np.full((height, width, channels), 9, np.uint8), 480, 270)


@settings(max_examples=25)
@given(SIZES, SIZES, st.tuples(*[st.integers(0, 255)] * 4))
def test_a_plain_colour_comes_out_as_rgb_and_alpha_is_ignored(
    width: int, height: int, bgra: tuple[int, int, int, int]
) -> None:
    pixels = np.full((height, width, 4), bgra, np.uint8)
    blue, green, red, _ = bgra
    for channels in (3, 4):
        assert (see(pixels[:, :, :channels], 24, 16) == (red, green, blue)).all()


def test_a_pure_blue_frame_becomes_the_third_channel() -> None:
    blue = np.full((27, 48, 3), (255, 0, 0), np.uint8)
    assert (see(blue) == (0, 0, 255)).all()


def test_alpha_is_ignored_where_it_varies() -> None:
    opaque = picture(61, 37)
    alpha = np.arange(61 * 37, dtype=np.uint8).reshape(37, 61, 1)
    assert (see(np.concatenate((opaque, alpha), axis=2), 24, 16) == see(opaque, 24, 16)).all()


@pytest.mark.parametrize("view", ["flipped", "mirrored", "rgb", "region", "strided"])
def test_a_view_is_read_like_its_copy(view: str) -> None:
    pixels = picture(60, 40)
    chosen = {
        "flipped": pixels[::-1],
        "mirrored": pixels[:, ::-1],
        "rgb": pixels[:, :, ::-1],
        "region": pixels[5:, 7:],
        "strided": pixels[::2, ::3],
    }[view]
    assert (see(chosen, 24, 16) == see(np.ascontiguousarray(chosen), 24, 16)).all()


def test_a_frame_of_the_specs_size_is_only_reordered() -> None:
    pixels = picture(48, 27)
    assert (see(pixels, 48, 27) == pixels[:, :, ::-1]).all()


def test_halving_takes_the_mean_of_four_pixels() -> None:
    frame = grey(
        [
            [0, 40, 100, 100],
            [80, 120, 100, 100],
            [255, 0, 10, 20],
            [0, 255, 30, 60],
        ]
    )
    # The last mean is 127.5, the half rounds up.
    frame[2:, :2, 0] = [[255, 0], [255, 0]]
    assert (see(frame, 2, 2) == [[[60] * 3, [100] * 3], [[128] * 3, [30] * 3]]).all()


def test_halving_repeats_while_twice_the_size_is_left() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    frame[0, 0] = 240
    assert see(frame, 1, 1)[0, 0].tolist() == [4, 4, 4]  # 240 / 4 / 4 / 4 = 3.75; linear alone would miss the pixel


def test_the_rest_is_resized_linearly_between_pixel_centres() -> None:
    # Centres of 2 pixels lie at 0.25 and 1.75 of 3: three quarters of the near one, a quarter of the next.
    assert see(grey([[0, 100, 200]]), 2, 1)[0, :, 0].tolist() == [25, 175]


# Frame size -> 5 x 5 RGB pixels of the observation of `picture`, in hexadecimal. If they change, no weights fit any
# more: raise PREPROCESSING in agent/contract/spec.py and train again.
GOLDEN = {
    (1280, 720): (
        "88c3aeb282c0726ed3955ee66258d89c6e964aa4a88fa5bb744ece8873e062437e9b40906762a37873b69583c8"
        "b5c366609c78aa958b8d7d9e6f96b04b834e786f605c777363a5858d9598"
    ),
    (1000, 800): (
        "66a5727a44c773a47f5d84267a878db79690768c1770499dc8bc24846eab5965af97bb358c6dbc578f426e6ec9"
        "b691cd6968536689dabb86607b75e74d83ebb27f71a87dc552817f7fae22"
    ),
    (600, 400): (
        "543bd03a8b211cdc725a2cc2c47c1390ebdf461f304853819788d131bc22cd9aee83b33f85cb90ccdce06dbe31"
        "484a9dc0464ec2439f6740f0aa3c4047990c60da5d23bbae4d9cdfe77c4f"
    ),
    (1001, 601): (
        "4e8454a56eddae5864607eed6d7375a441ec49a4745290a49b7184778e19658183a26827a2a59461541bb289a3"
        "6cb51a6688a37e572a7072b3598f3ab176b268793a6c77c2a37e499885d2"
    ),
}


@pytest.mark.parametrize("size", GOLDEN, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_pixels_that_weights_were_trained_on_are_unchanged(size: tuple[int, int]) -> None:
    # A difference of 1 is left to other processors' rounding; another resize differs by tens.
    stored = np.frombuffer(bytes.fromhex(GOLDEN[size]), np.uint8).reshape(5, 5, 3)
    sampled = see(picture(*size))[13::61, 17::97]
    assert np.abs(sampled.astype(int) - stored).max() <= 1


@pytest.mark.parametrize("size", [(600, 400), (1280, 720), (960, 540), (480, 270)])
def test_masks_blacken_their_part_with_one_pixel_around_and_nothing_else(size: tuple[int, int]) -> None:
    width, height = size
    expected = np.full((270, 480, 3), 255, np.uint8)
    for mask in CARRACING_BAR:
        expected[inside(mask, expected, margin_px=1)] = 0
    assert (see(np.full((height, width, 3), 255, np.uint8), masks=CARRACING_BAR) == expected).all()


@settings(max_examples=150)
@given(SIZES, SIZES, SIZES, SIZES, MASKS)
def test_nothing_under_a_mask_shows_through_at_any_size(
    width: int, height: int, width_px: int, height_px: int, mask: Rectangle
) -> None:
    frame = np.zeros((height, width, 4), np.uint8)
    frame[inside(mask, frame)] = 255
    assert not see(frame, width_px, height_px, [mask]).any()


@pytest.mark.parametrize("size", [(600, 400), (1280, 720), (320, 180), (989, 661), (1039, 569)])
def test_nothing_under_the_games_masks_shows_through(size: tuple[int, int]) -> None:
    width, height = size
    shown, hidden = picture(width, height), picture(width, height)
    for mask in CARRACING_BAR:
        hidden[inside(mask, hidden)] ^= 255
    assert (see(shown, masks=CARRACING_BAR) == see(hidden, masks=CARRACING_BAR)).all()
