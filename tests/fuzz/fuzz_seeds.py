"""Writes what the corpora begin with: small sound files of each format, and some hostile ones made by hand."""

import io
import json
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import fuzz_mutations
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import small_model
from fuzz_targets import SECTION
from onnx import ModelProto

from agent.contract.controls import Controls
from agent.contract.episodes.columns import EpisodeHeader, EpisodeRow
from agent.contract.episodes.writing import EpisodeWriter
from agent.contract.observation import Frame
from agent.contract.spec import GRAPH_FILE, SPEC_FILE, WEIGHTS_FILE

ROOT = Path(__file__).parents[2]
LEAST = 'title = "A game"\nrate_hz = 20\nnotes = "not verified"\n'


def make_specs() -> dict[str, bytes]:
    shipped = (ROOT / "model_weights" / "carracing" / SPEC_FILE).read_bytes()
    return {
        "shipped": shipped,
        "small": small_model.SPEC.to_json().encode(),
        "deep": b"[" * 3000,
        "nested": b'{"a":' * 500 + b"0" + b"}" * 500,
        "digits": shipped.replace(b"192", b"9" * 1000),
        "twice": shipped.replace(b'"width_px"', b'"height_px"'),
        "path": shipped.replace(b'"probe.png"', b'"../../probe.png"'),
        "constants": shipped.replace(b"0.095703", b"NaN").replace(b"25.0", b"Infinity"),
        "surrogate": shipped.replace(b'"xception"', b'"\\ud800"'),
        "terminal": shipped.replace(b'"xception"', b'"\\u001b[2J"'),
    }


def make_profiles() -> dict[str, bytes]:
    profiles = (ROOT / "agent" / "games" / "profiles").glob("*.toml")
    full = (
        LEAST + 'controller = "keyboard"\nmodel = "other"\n[capture]\nwindow = "Game"\nmonitor = 2\n'
        'region = [10, 20, 1280, 720]\n[pad]\nsteering = "right_x"\nthrottle = "right_y_up"\nbrake = "button_b"\n'
        'steering_dead_zone = 0.2\nsteering_slew_per_s = 4\n[keys]\nleft = "a"\npulse_s = 0.2\n'
    )
    hostile = {
        "path": LEAST + 'model = "../../elsewhere"\n',
        "huge": LEAST + f"[capture]\nregion = [{10**400}, 1, 1, 1]\n",
        "dotted": LEAST + "a." * 1500 + "a = 1\n",
        "deep": LEAST + "masks = " + "[" * 1500,
        "terminal": LEAST.replace("A game", "\\u001b[2J"),
        "key": LEAST + '"\\n\\u0007" = 1\n',
    }
    return {path.stem: path.read_bytes() for path in profiles} | {
        name: text.encode() for name, text in ({"least": LEAST, "full": full} | hostile).items()
    }


def make_pictures() -> dict[str, bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 4), np.uint8)
    sound = {"colour": pixels[..., :3], "grey": pixels[..., 0], "alpha": pixels, "deep": pixels.astype(np.uint16) * 257}
    pictures = {name: cv2.imencode(".png", values)[1].tobytes() for name, values in sound.items()}
    plain = pictures["colour"]
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + plain[24:29]
    rows = zlib.compress(bytes(4000))
    palette = b"".join(
        _png_chunk(name, content)
        for name, content in (
            (b"IHDR", struct.pack(">IIBBBBB", 20, 10, 4, 3, 0, 0, 1)),
            (b"PLTE", bytes(range(48))),
            (b"IDAT", rows[:5]),
            (b"IDAT", rows[5:]),
            (b"IEND", b""),
        )
    )
    return pictures | {
        "palette": plain[:8] + palette,
        "bomb": plain[:12] + header + zlib.crc32(header).to_bytes(4, "big") + plain[33:],
        "rows-bomb": plain[:33] + _png_chunk(b"IDAT", zlib.compress(bytes(3_500_000), 9)) + _png_chunk(b"IEND", b""),
        "length": plain[:33] + b"\xff" + plain[34:],
        "jpeg": cv2.imencode(".jpg", pixels[..., :3])[1].tobytes(),
        "webp": cv2.imencode(".webp", pixels[..., :3], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
        "jpeg-bomb": b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 60_000, 60_000) + b"\x03\x01\x22\x00",
    }


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def make_models() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return graphs, and whole folders."""
    with tempfile.TemporaryDirectory() as name:
        folder = small_model.write_model(Path(name))
        spec, graph, weights = ((folder / file).read_bytes() for file in (SPEC_FILE, GRAPH_FILE, WEIGHTS_FILE))
    for file in (GRAPH_FILE, WEIGHTS_FILE):
        at = spec.index(f'"{file}": "'.encode()) + len(file) + 5
        spec = spec[:at] + b"@" + file.encode() + spec[at + 64 :]
    elsewhere = graph.replace(b"weights.safetensors", b"/tmp/../etc/passwd!", 1)
    domain = graph.replace(b"Relu", b"PyOp")
    model = ModelProto.FromString(graph)
    model.opset_import[0].version = 2**63 - 1
    future = model.SerializeToString()
    graphs = {"every": graph, "elsewhere": elsewhere, "operation": domain}
    nan = weights[:-2] + b"\x00\x7e"
    folders = {
        "sound": (spec, graph, weights),
        "elsewhere": (spec, elsewhere, weights),
        "future": (spec, future, weights),
        "nan": (spec, graph, nan),
        "pickle": (spec, graph, b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x02os\x94\x8c\x06system\x94\x93\x94."),
        "header": (spec, graph, b"\xff" * 7 + b"\x0f" + weights[8:]),
    }
    return graphs, {name: SECTION.join(files) for name, files in folders.items()}


def make_episodes() -> dict[str, bytes]:
    header = EpisodeHeader(game="carracing", driver="expert", rate_hz=2.0, seed=7, profile_notes="small")
    pixels = np.random.default_rng(2).integers(0, 256, (3, 4, 3), np.uint8)
    rows = [
        EpisodeRow(
            Frame(pixels, index * 500_000_000, index), Controls(0.5), Controls(0.25), float(index), False, {"yaw": 1.0}
        )
        for index in range(4)
    ]
    with tempfile.TemporaryDirectory() as name:
        for file, count in (("sealed", 4), ("one", 1)):
            with EpisodeWriter(Path(name) / f"{file}.parquet", header) as writer:
                for row in rows[:count]:
                    writer.write(row)
        writer = EpisodeWriter(Path(name) / "killed.parquet", header)
        for row in rows:
            writer.write(row)
        writer._file.close()
        made = {path.stem: path.read_bytes() for path in Path(name).iterdir()}
    return made | {"cut": made["sealed"][:-9]} | make_hostile_episodes(made["sealed"])


def make_hostile_episodes(sealed: bytes) -> dict[str, bytes]:
    """Return episodes that are nested deeper, or unpack to more, than any drive."""
    table = pq.read_table(io.BytesIO(sealed))
    metadata = table.schema.metadata
    about = json.loads(metadata[b"hoodcam"])
    deep = table
    for name in table.column_names:
        deep = fuzz_mutations.nest(deep, name, 1 if name == "telemetry" else 0)
    texts = {**about, "header": {**about["header"], "driver": "\x1b]0;x\x07\u202e" * 400, "track": "\n" * 9000}}
    picture = {"bytes": cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes() * 60, "path": "a" * 500}
    named = pa.table({**dict(zip(table.column_names, table.columns, strict=True)), "frame": [picture] * len(table)})
    named = pa.concat_tables([named.cast(table.schema)] * 2000)
    return {
        "nested": fuzz_mutations.as_parquet(fuzz_mutations.nest(table, "telemetry", 40)),
        "nested-recording": fuzz_mutations.as_recording(fuzz_mutations.nest(table, "frame", 40)),
        "nested-everywhere": fuzz_mutations.as_parquet(deep),
        "rows-bomb": fuzz_mutations.as_parquet(fuzz_mutations.repeat_first_row(table, 100_000), use_dictionary=True),
        "dictionary-bomb": fuzz_mutations.as_parquet(named, use_dictionary=True),
        "packed-bomb": fuzz_mutations.as_recording(fuzz_mutations.repeat_first_row(table, 20_000), compression="zstd"),
        "header-depth": fuzz_mutations.as_parquet(fuzz_mutations.with_about(table, b"[" * 9000 + b"]" * 9000)),
        "header-texts": fuzz_mutations.as_parquet(fuzz_mutations.with_about(table, json.dumps(texts).encode())),
    }


def write_seeds(corpus: Path) -> None:
    """Write them into the corpora, whose other files stay."""
    graphs, folders = make_models()
    made = {
        "spec": make_specs(),
        "profile": make_profiles(),
        "picture": make_pictures(),
        "graph": graphs,
        "model-folder": folders,
        "episode": make_episodes(),
    }
    for target, files in made.items():
        folder = corpus / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
