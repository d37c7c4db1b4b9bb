"""What a checkout on Windows makes of the files: its Git writes CRLF unless it is told otherwise."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no checkout of Git's"
)


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "safe.directory=*", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder)]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout


def test_scripts_and_data_survive_a_checkout_with_crlf(tmp_path: Path) -> None:
    """Bash said "'bash\\r': No such file or directory" under WSL, and nothing but Git's guess kept the data whole."""
    made, checkout = tmp_path / "made", tmp_path / "checkout"
    made.mkdir()
    shutil.copy(ROOT / ".gitattributes", made)
    suffixes = sorted({Path(name).suffix for name in git(ROOT, "ls-files").splitlines() if is_data(name)})
    assert {".safetensors", ".onnx", ".parquet", ".recording", ".webp"} <= set(suffixes)
    data = {f"data{suffix}": b"no NUL by which Git could tell\r\n\n" for suffix in suffixes}
    files = data | {"run": b"#!/usr/bin/env bash\n", "a.py": b"1\n"}
    for name, content in files.items():
        (made / name).write_bytes(content)
    git(made, "init", "--quiet")
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "all")
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", str(made), str(checkout))
    assert {name: (checkout / name).read_bytes() for name in files} == files


def test_no_file_has_crlf_but_those_that_are_taken_as_they_are() -> None:
    lines = [line.split("\t", 1) for line in git(ROOT, "ls-files", "--eol", "--", ":!model_weights").splitlines()]
    odd = [name for facts, name in lines if "attr/-text" not in facts and not facts.startswith(("i/lf", "i/none"))]
    assert odd == []


def is_data(name: str) -> bool:
    """Return whether a file is none that people write."""
    if name.startswith("tests/fuzz/corpus/"):
        return False
    with (ROOT / name).open("rb") as file:
        return b"\0" in file.read(8000)
