"""Fuzz the project's parsers with atheris: coverage-guided, on top of mutations that know the formats.

Needs Linux and `pip install -e ".[test,fuzz]"`. Each target runs in a process of its own, one after the other. What is
found that reaches new code is kept in `.cache/fuzz` and is where the next run begins; an input that fails is saved.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent)]

from fuzz_targets import TARGETS, Watch, peak_memory_mb  # noqa: E402

CORPUS = HERE / "corpus"
KEPT = ROOT / ".cache" / "fuzz"
FAILURES = KEPT / "failures"
_ADDRESS_SPACE_GB = 8  # RLIMIT_AS of each process: what asks for more gets a MemoryError, which is a failure
_HANG_S = 300  # one input, on a machine that may be busy; the processor time that each target states is checked as well
_KNOWING = 0.7  # share of mutations that know the format


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=70, help="for all targets together (default: 70)")
    parser.add_argument(
        "--target", action="append", choices=TARGETS, help="one of them; may be given again (default: all)"
    )
    parser.add_argument("--failures", type=Path, default=FAILURES, help=f"where to save inputs that fail ({FAILURES})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was measured to this file")
    parser.add_argument("--seeds", action="store_true", help="write what the corpora begin with, and end")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.seeds:
        from fuzz_seeds import write_seeds

        write_seeds(CORPUS)
        return 0
    if arguments.child:
        _fuzz(arguments.child, arguments.seconds, arguments.failures, arguments.json)
    names = arguments.target or list(TARGETS)
    reports = [_run(name, max(1, arguments.seconds // len(names)), arguments.failures) for name in names]
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(reports, indent=1))
    return int(any(report["failed"] for report in reports))


def _run(name: str, seconds: int, failures: Path) -> dict[str, object]:
    """Fuzz one target in a process of its own, and say what came of it."""
    failures.mkdir(parents=True, exist_ok=True)
    log = failures / f"{name}.log"
    with tempfile.TemporaryDirectory() as folder, log.open("w") as file:
        path = Path(folder) / "report.json"
        command = [sys.executable, __file__, "--child", name, "--seconds", str(seconds), "--failures", str(failures)]
        code = subprocess.run([*command, "--json", str(path)], stdout=file, stderr=file, check=False).returncode
        report: dict[str, object] = {"target": name, "failed": code != 0}
        if path.exists():
            report |= json.loads(path.read_text())
    sys.stdout.write(
        f"{name}: {report.get('runs', 0)} inputs, {report.get('accepted', 0)} of them sound; slowest "
        f"{report.get('slowest_ms', 0)} ms; peak {report.get('peak_mb', 0)} MB, {report.get('grown_mb', 0)} MB by "
        f"one input; {f'FAILED: see {log}' if code else 'no failure'}\n"
    )
    sys.stdout.flush()
    return report


def _fuzz(name: str, seconds: int, failures: Path, report: Path) -> None:
    """Fuzz one target in this process; never returns, for libFuzzer ends the process."""
    import atheris

    target = TARGETS[name]
    with atheris.instrument_imports(include=list(target.modules)):
        target.load()
    from fuzz_mutations import MUTATIONS

    limit = _ADDRESS_SPACE_GB << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    parse, _ = target.load()
    for path in sorted((CORPUS / target.corpus).iterdir()):  # some import, which may take a minute beside other work
        with suppress(Exception), tempfile.TemporaryDirectory() as first:
            parse(path.read_bytes(), Path(first))
    watch = Watch(target, folder)
    written_s = 0.0

    def run(data: bytes) -> None:
        nonlocal written_s
        watch(data)
        if time.monotonic() - written_s > 1:
            written_s = time.monotonic()
            about = {
                "target": name,
                "runs": watch.runs,
                "accepted": watch.accepted,
                "slowest_ms": round(1e3 * watch.slowest_s, 1),
                "peak_mb": round(peak_memory_mb()),
                "grown_mb": round(watch.grown_mb),
            }
            report.with_suffix(".partial").write_text(json.dumps(about))
            os.replace(report.with_suffix(".partial"), report)

    def mutate(data: bytes, most_bytes: int, seed: int) -> bytes:
        choice = random.Random(seed)
        if choice.random() < _KNOWING:
            for _ in range(choice.choice((1, 1, 2, 4))):
                data = MUTATIONS[name](data, choice)
            if len(data) <= most_bytes:
                return data
        return atheris.Mutate(data[:most_bytes], most_bytes)

    kept = KEPT / target.corpus
    kept.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.most_bytes}",
        f"-timeout={_HANG_S}",
        "-rss_limit_mb=0",  # the growth that each target states is checked after every input
        "-len_control=0",
        f"-artifact_prefix={failures}/{name}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(kept), str(CORPUS / target.corpus), *options], run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
