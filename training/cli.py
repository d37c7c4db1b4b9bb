"""The trainer's command line: collect episodes, fit a network, export it. The commands are in ``training.commands``."""

from collections.abc import Sequence

from safetensors import SafetensorError

from agent.commands.options import make_parser
from agent.commands.program import run_program
from training.commands import balance, collect, export, fit, report, speed

COMMANDS = tuple(module.COMMAND for module in (collect, balance, fit, report, speed, export))

_EXTRA = ("keras", "matplotlib", "nncf", "onnx", "onnxruntime", "tensorboard", "tensorflow")

_EXAMPLES = """\
a whole training, from nothing to a driving car:
  python -m training collect --out data/expert --episodes 60
  python -m training fit --data data/expert --out runs/first --width 240 --height 135 --tracks 3
  python -m training collect --out data/dagger --seed-start 2000 --weights runs/first/best
  python -m training fit --data data/expert data/dagger --out runs/second --init runs/first/best
  python -m agent evaluate --weights runs/second/best --tracks 20
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 done, 1 an error told in one line, 2 bad usage, 130 interrupted."""
    parser = make_parser(
        "python -m training",
        "Make the weights that `python -m agent drive` runs.",
        _EXAMPLES,
        COMMANDS,
        verbose_first=True,
    )
    interrupted = "interrupted; what was finished is kept, the same command goes on"
    return run_program(parser, argv, interrupted, _explain)


def _explain(exc: Exception) -> str | None:
    if isinstance(exc, OSError | SafetensorError):  # a disk may fill up, or a folder be read-only, at any write
        return (
            f"{exc}: a file could not be read or written, expected readable data and an --out with room. Free space or "
            "choose another folder; what was finished is kept."
        )
    if isinstance(exc, ModuleNotFoundError) and (missing := (exc.name or "").partition(".")[0]) in _EXTRA:
        return f"{missing} is not installed, expected the packages that training needs: `pip install '.[training]'`."
    return None
