"""The network: a convolutional backbone, a common dense part, and one small head per output."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from agent.contract.errors import TrainingError
from agent.contract.spec import STEERING_THROTTLE_BRAKE, OutputSpec
from training.data.samples import AUXILIARY
from training.network.backbones import BACKBONES, GRIDS
from training.network.fast_layers import FAST_LAYERS
from training.network.weights_file import load_weights

COMMON_UNITS = 1024
HEAD_UNITS = (256, 64, 16)

# (filters, kernel size, stride) as in "End to End Learning for Self-Driving Cars" (Bojarski et al., 2016).
_PILOTNET_CONVOLUTIONS = ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1))

# Keras numbers layers without a name of their own through the life of the process ("conv2d_7").
_UNNAMED = re.compile(r"(conv2d|batch_normalization|add)(_\d+)?")


def build_network(
    backbone: str = "xception",
    height_px: int = 270,
    width_px: int = 480,
    outputs: Sequence[OutputSpec] = STEERING_THROTTLE_BRAKE,
    init: str | Path = "none",
    auxiliary: Sequence[str] = (),
    fast_layers: bool = False,
    pictures: int = 1,
) -> Any:
    """Build the network; its weights fit every input size, because averages over the picture end the backbone.

    With the ``xception`` backbone and three outputs this is model_0002_xception_v1: 23,799,371 parameters.

    Args:
        backbone: One of ``BACKBONES``.
        height_px: Height of the observation.
        width_px: Width of the observation.
        outputs: The heads.
        init: ``none`` for random weights, ``imagenet`` for Keras' own pretrained backbone (downloaded), or a file that
            ``save_weights`` wrote.
        auxiliary: Names of further numbers that one extra head predicts, in training only. Empty for no such head.
        fast_layers: Whether to train with the layers of ``training.network.fast_layers``; ignored where Keras'
            backend is not TensorFlow. Weights are interchangeable.
        pictures: How many the network sees at once; see ``agent.contract.spec.Stack``.

    Returns:
        A functional ``keras.Model``. Input: RGB bytes (or floats) in [0, 255], shape (batch, height_px, width_px,
        3 * pictures).
        Output: a dict from head name to float32, shape (batch, 1), not clipped; ``auxiliary`` maps to shape
        (batch, len(auxiliary)).

    Raises:
        TrainingError: If the backbone is unknown, has no such size or no pretrained weights, or a head is misnamed.
        WeightsError: If the file in ``init`` does not fit.
    """
    names = [output.name for output in outputs]
    if AUXILIARY in names:
        raise TrainingError(f"an output is named {AUXILIARY!r}, which is kept for the training-only head. Rename it.")
    if not isinstance(init, Path) and init not in ("none", "imagenet"):
        raise TrainingError(f"init is {init!r}, expected 'none', 'imagenet' or the path of a weights file.")
    body = _build_backbone(backbone, (height_px, width_px, 3 * pictures), init == "imagenet")
    body = _clone(body, backbone, fast_layers and keras.backend.backend() == "tensorflow")
    observation = keras.Input((height_px, width_px, 3 * pictures), name="observation")
    # float32 even under mixed precision: the bytes are scaled before anything is rounded.
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scale")(observation)
    pooled = _average(body(scaled), backbone)
    common = keras.layers.Dense(COMMON_UNITS, activation="relu", name="common")(pooled)
    predictions = {name: _head(common, name, HEAD_UNITS, 1) for name in names}
    if auxiliary:
        predictions[AUXILIARY] = _head(common, AUXILIARY, HEAD_UNITS[:1], len(auxiliary))
    model = keras.Model(observation, predictions, name=f"{backbone}_network")
    if isinstance(init, Path):
        load_weights(model, init)
    return model


def freeze_backbone(model: Any, last: str) -> None:
    """Keep a layer of the backbone and all before it as they are, their BatchNormalization's statistics included.

    Frozen layers need no gradients. Xception at 160 x 90 in batches of 32 trained 1.5 times as many samples a second
    when frozen up to ``add_2`` (the entry flow), and 2.8 times as many up to ``add_5`` (three of eight middle blocks
    more).

    Args:
        model: From ``build_network``; compile it afterwards.
        last: The layer's name.

    Raises:
        TrainingError: If the backbone has no such layer.
    """
    body = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    names = [layer.name for layer in body.layers]
    if last not in names:
        ends = [name for name in names if "add" in name] or names
        raise TrainingError(
            f"the backbone {body.name} has no layer {last!r} to freeze up to, expected one of its {len(names)}, such "
            f"as {', '.join(ends)}. Correct --freeze."
        )
    for layer in body.layers[: names.index(last) + 1]:
        layer.trainable = False


def _head(features: Any, name: str, hidden: Sequence[int], units: int) -> Any:
    for index, width in enumerate(hidden):
        features = keras.layers.Dense(width, activation="relu", name=f"{name}_dense_{index}")(features)
    # float32 even under mixed precision: bfloat16 near full lock is 1/256 apart.
    return keras.layers.Dense(units, dtype="float32", name=name)(features)


def _average(features: Any, backbone: str) -> Any:
    """Average the last maps over the whole picture or, with a grid, over each of its cells; they overlap by a little
    where the maps cannot be split evenly."""
    if backbone not in GRIDS:
        return keras.layers.GlobalAveragePooling2D(name="pool")(features)
    sizes, cells = features.shape[1:3], GRIDS[backbone]
    strides = [size // count for size, count in zip(sizes, cells, strict=True)]
    if 0 in strides:
        raise TrainingError(
            f"the last maps of {backbone} are {sizes[1]} x {sizes[0]} here, expected at least one for each of its "
            f"{cells[1]} x {cells[0]} cells. Take larger pictures, or --backbone pilotnet."
        )
    windows = [size - (count - 1) * step for size, count, step in zip(sizes, cells, strides, strict=True)]
    averages = keras.layers.AveragePooling2D(windows, strides, padding="valid", name="pool")(features)
    return keras.layers.Flatten(name="cells")(averages)


def _build_backbone(name: str, shape: tuple[int, int, int], pretrained: bool) -> Any:
    height_px, width_px, channels = shape
    builders = {"xception": keras.applications.Xception, "mobilenet_v2": keras.applications.MobileNetV2}
    if name not in BACKBONES:
        raise TrainingError(f"the backbone {name!r} is unknown, expected one of {', '.join(BACKBONES)}.")
    if name not in builders:
        if pretrained:
            raise TrainingError(f"{name} has no pretrained weights. Pass --init none, or another backbone.")
        return _build_pilotnet(shape)
    if pretrained and channels != 3:
        raise TrainingError(f"the pretrained weights of {name} see one picture, not {channels // 3}. Pass --init none.")
    try:
        return builders[name](include_top=False, weights="imagenet" if pretrained else None, input_shape=shape)
    except ValueError as exc:
        raise TrainingError(f"{name} cannot take pictures of {width_px} x {height_px} px: {exc}") from exc
    except Exception as exc:  # Keras reports a failed download as a bare Exception
        if not pretrained:
            raise
        raise TrainingError(
            f"the pretrained weights of {name} could not be downloaded ({exc}). Check the connection, or pass "
            "--init none or a weights file."
        ) from exc


def _build_pilotnet(shape: tuple[int, int, int]) -> Any:
    pictures = keras.Input(shape)
    features = pictures
    for index, (filters, size, stride) in enumerate(_PILOTNET_CONVOLUTIONS):
        features = keras.layers.Conv2D(
            filters, size, stride, padding="same", use_bias=False, name=f"block{index}_conv"
        )(features)
        features = keras.layers.BatchNormalization(name=f"block{index}_bn")(features)
        features = keras.layers.Activation("relu", name=f"block{index}_act")(features)
    return keras.Model(pictures, features)


def _clone(body: Any, name: str, fast_layers: bool) -> Any:
    """Copy a backbone under its name, with layer names that do not depend on what was built before."""
    seen: Counter[str] = Counter()

    def clone_layer(layer: Any) -> Any:
        config = layer.get_config()
        if unnamed := _UNNAMED.fullmatch(layer.name):
            word = unnamed.group(1)
            config["name"] = f"{word}_{seen[word]}"
            seen[word] += 1
        kind = FAST_LAYERS.get(type(layer), type(layer)) if fast_layers else type(layer)
        return kind.from_config(config)

    copy = keras.models.clone_model(body, clone_function=clone_layer)
    copy.set_weights(body.get_weights())
    return keras.Model(copy.inputs, copy.outputs[0], name=name)
