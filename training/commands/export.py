"""``export``: int8 weights, the mean of models, another picture size."""

import argparse
import os
from pathlib import Path
from typing import Any

from agent.commands.numbers import at_least_one
from agent.contract.errors import AgentError, TrainingError
from training.commands.common import tell

_BATCH_NORM_PICTURES = 384  # batch statistics over this many move the predictions of two estimates by little
_BATCH_NORM_BATCH = 16
_CALIBRATION_PICTURES = 192  # int8 ranges from 8 are too few, 128 are enough
_CHECK_PICTURES = 128


def add_to(commands: Any) -> None:
    """Add the command to the program's subcommands."""
    parser = commands.add_parser(
        "export", help="make int8 weights, average models, or write one at another picture size or under another name"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        nargs="+",
        metavar="DIR",
        help="model folder to start from; of several the mean of their weights, a folder named twice counting twice: "
        "where one was trained on from another, the mean may drive new roads as the first and known ones as the second",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="model folder to write (needed unless --int8: then default --weights)"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="quantise: write int8 weights beside the float ones, calibrated on pictures from --data",
    )
    parser.add_argument(
        "--approve-int8",
        type=Path,
        metavar="FILE",
        help="let the int8 weights of --weights drive unasked: FILE is what `python -m agent compare FLOAT.json --with "
        "INT8.json --json` printed; refused unless they drive the same within 1 %%",
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders with episodes: to measure BatchNorm statistics on (needed at another size, where old ones fail), "
        "and to calibrate int8 on",
    )
    parser.add_argument("--width", type=at_least_one, metavar="PX", help="of the network's input (default: as it was)")
    parser.add_argument("--height", type=at_least_one, metavar="PX", help="of the network's input (default: as it was)")
    parser.add_argument("--name", metavar="NAME", help="name in the spec (default: that of --out)")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    if arguments.out is None and len(arguments.weights) > 1:
        raise AgentError(
            f"{len(arguments.weights)} folders of --weights to average, expected --out DIR for their mean."
        )
    if arguments.out is None and not arguments.int8 and arguments.approve_int8 is None:
        raise AgentError("nothing to write: expected --out DIR, or --int8 to quantise the folder of --weights itself.")
    for option in ("name", "width", "height"):
        if arguments.out is None and getattr(arguments, option) is not None:
            raise AgentError(f"--{option} is for a new folder, expected --out DIR beside it.")
    folder: Path = arguments.out or arguments.weights[0]
    if arguments.out is not None:
        _export_float(arguments)
    if arguments.int8:
        _export_int8(folder, arguments.data)
    if arguments.approve_int8 is not None:
        from training.exporting.quantize import approve_int8

        comparison = approve_int8(folder, arguments.approve_int8)
        print(f"int8 drives the same within 1 %: {comparison.difference:+.1f} over {comparison.tracks} tracks")  # noqa: T201


def _export_float(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from agent.contract.spec import WEIGHTS_FILE, ModelSpec
    from training.data.samples import find_episodes, pick_pictures
    from training.exporting.export import export_model
    from training.fitting.run import reestimate_batch_norm
    from training.network.build import build_network
    from training.network.weights_file import load_average

    name = arguments.name or arguments.out.name
    originals: list[ModelSpec] = []
    for folder in arguments.weights:
        loaded = ModelSpec.load(folder)
        loaded.verify_files(folder, WEIGHTS_FILE)
        originals.append(replace(loaded, name=name, sha256={}, quantization=None))
        if originals[-1] != originals[0]:
            raise TrainingError(
                f"{folder} describes another network than {arguments.weights[0]} (backbone, outputs, picture, rate or "
                "game), expected the same for a mean. Average models of one training."
            )
    original = originals[0]
    spec = replace(
        original, width_px=arguments.width or original.width_px, height_px=arguments.height or original.height_px
    )
    if arguments.data is None and (spec.width_px, spec.height_px) != (original.width_px, original.height_px):
        raise TrainingError(
            f"{arguments.weights[0]} was made for {original.width_px} x {original.height_px} px; for {spec.width_px} x "
            f"{spec.height_px} px its BatchNorm statistics have to be measured anew. Pass episodes with --data."
        )
    model = build_network(spec.backbone, spec.height_px, spec.width_px, spec.outputs)
    load_average(model, [folder / WEIGHTS_FILE for folder in arguments.weights])
    if arguments.data is not None:
        pictures = pick_pictures(find_episodes(arguments.data), spec, _BATCH_NORM_PICTURES)
        starts = range(0, len(pictures), _BATCH_NORM_BATCH)
        reestimate_batch_norm(model, (pictures[start : start + _BATCH_NORM_BATCH] for start in starts))
    export_model(model, spec, arguments.out)
    print(f"{arguments.out}: {spec.backbone} at {spec.width_px} x {spec.height_px} px")  # noqa: T201


def _export_int8(folder: Path, data: list[Path] | None) -> None:
    from agent.contract.spec import ModelSpec
    from training.data.samples import find_episodes, pick_balanced_pictures, pick_pictures
    from training.exporting.quantize import quantize_model

    if data is None:
        raise AgentError("--int8 needs recorded pictures to measure ranges on, expected --data DIR with episodes.")
    spec = ModelSpec.load(folder)
    paths = find_episodes(data)
    if len(paths) < 2:
        raise TrainingError(
            f"{len(paths)} episode in --data, expected at least two: the first is checked on, the others are "
            "calibrated on. Record more (`python -m training collect`)."
        )
    checked = max(1, min(len(paths) // 10, 4))
    check = pick_pictures(paths[:checked], spec, _CHECK_PICTURES)
    calibration = pick_balanced_pictures(paths[checked:], spec, _CALIBRATION_PICTURES)
    report = quantize_model(folder, calibration, check, tell)
    quantization = report.spec.quantization
    assert quantization is not None
    for name in report.spec.output_names:
        mean, largest = quantization.mean_deviation[name], quantization.max_deviation[name]
        tell(f"{name}: differs from float32 by {mean:.4f} on average, {largest:.3f} at most, on {len(check)} pictures")
    if report.float_layers:
        tell(
            f"{len(report.float_layers)} of {report.convolutions} convolutions run in float on this machine: "
            f"{', '.join(report.float_layers)}"
        )
    print(f"{folder}: int8 weights, calibrated on {len(calibration)} pictures")  # noqa: T201
