"""Models written anew: int8 weights, the mean of several, another picture size or name."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from agent.contract.errors import TrainingError
from agent.contract.spec import WEIGHTS_FILE, ModelSpec
from training.data.finding import find_episodes
from training.data.samples import pick_balanced_pictures, pick_pictures
from training.exporting.config import ExportSettings
from training.exporting.export import export_model
from training.exporting.quantize import approve_int8, quantize_model
from training.fitting.run import reestimate_batch_norm
from training.in_use import in_use
from training.network.build import build_network
from training.network.keras_start import start_keras
from training.network.weights_file import load_average

Note = Callable[[str], None]

_BATCH_NORM_PICTURES = 384  # batch statistics over this many move the predictions of two estimates by little
_BATCH_NORM_BATCH = 16
_CALIBRATION_PICTURES = 192  # int8 ranges from 8 are too few, 128 are enough
_CHECK_PICTURES = 128


def export(settings: ExportSettings, done: Note = lambda line: None, note: Note = lambda line: None) -> Path:
    """Write what was asked for.

    Args:
        settings: From which models, and what to write.
        done: Is told what has been written, a line each.
        note: Is told of progress, a line at a time.

    Returns:
        The folder that was written to.

    Raises:
        TrainingError: If the models do not go together, or there are no pictures where some are needed.
        AgentError: If a model or an episode cannot be read.
    """
    start_keras()
    if settings.out is not None:
        done(_export_float(settings, settings.out))
    if settings.int8:
        with in_use(settings.folder, "quantized"):
            done(_export_int8(settings.folder, settings.data, note))
    if settings.approve_int8 is not None:
        comparison = approve_int8(settings.folder, settings.approve_int8)
        done(f"int8 drives the same within 1 %: {comparison.difference:+.1f} over {comparison.tracks} tracks")
    return settings.folder


def _export_float(settings: ExportSettings, out: Path) -> str:
    name = settings.name or out.name
    originals: list[ModelSpec] = []
    for folder in settings.weights:
        loaded = ModelSpec.load(folder)
        loaded.verify_files(folder, WEIGHTS_FILE)
        originals.append(replace(loaded, name=name, sha256={}, quantization=None))
        if originals[-1] != originals[0]:
            raise TrainingError(
                f"{folder} describes another network than {settings.weights[0]} (backbone, outputs, picture, rate or "
                "game), expected the same for a mean. Average models of one training."
            )
    original = originals[0]
    spec = replace(
        original, width_px=settings.width or original.width_px, height_px=settings.height or original.height_px
    )
    if settings.data is None and (spec.width_px, spec.height_px) != (original.width_px, original.height_px):
        raise TrainingError(
            f"{settings.weights[0]} was made for {original.width_px} x {original.height_px} px; for {spec.width_px} x "
            f"{spec.height_px} px its BatchNorm statistics have to be measured anew. Pass episodes with --data."
        )
    model = build_network(spec.backbone, spec.height_px, spec.width_px, spec.outputs, pictures=spec.pictures)
    load_average(model, [folder / WEIGHTS_FILE for folder in settings.weights])
    if settings.data is not None:
        pictures = pick_pictures(find_episodes(settings.data), spec, _BATCH_NORM_PICTURES)
        starts = range(0, len(pictures), _BATCH_NORM_BATCH)
        reestimate_batch_norm(model, (pictures[start : start + _BATCH_NORM_BATCH] for start in starts))
    with in_use(out, "written"):
        export_model(model, spec, out)
    return f"{out}: {spec.backbone} at {spec.width_px} x {spec.height_px} px"


def _export_int8(folder: Path, data: Sequence[Path] | None, note: Note) -> str:
    if data is None:
        raise TrainingError("--int8 needs recorded pictures to measure ranges on, expected --data DIR with episodes.")
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
    report = quantize_model(folder, calibration, check, note)
    quantization = report.spec.quantization
    assert quantization is not None
    for name in report.spec.output_names:
        mean, largest = quantization.mean_deviation[name], quantization.max_deviation[name]
        note(f"{name}: differs from float32 by {mean:.4f} on average, {largest:.3f} at most, on {len(check)} pictures")
    if report.float_layers:
        note(
            f"{len(report.float_layers)} of {report.convolutions} convolutions run in float on this machine: "
            f"{', '.join(report.float_layers)}"
        )
    return f"{folder}: int8 weights, calibrated on {len(calibration)} pictures"
