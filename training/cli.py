"""The trainer's command line: collect episodes, fit a network, export it. The commands are in ``training.commands``."""

from collections.abc import Sequence

from agent.commands.options import Entry, make_parser
from agent.commands.program import run_program

COMMANDS = tuple(
    Entry(name, summary, f"training.commands.{name}")
    for name, summary in (
        ("collect", "record the expert's driving, or label the network's (DAgger)"),
        ("balance", "show what each balancing rule would feed the network, before training with it"),
        ("fit", "train a network; the same command continues an interrupted run"),
        ("live", "learn while driving: collect, train and hand the weights over, all at once"),
        ("report", "show the curves of several runs in one picture, and list their last and best rounds"),
        ("speed", "time a training step here: plain, ours, and the helper step, in turn"),
        ("export", "make int8 weights, average models, or write a model at another picture size or name"),
    )
)
"""In the order of the help; a command's module is imported when the command is used."""

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
    """Run one command; return 0 done, 1 an error (reported in one line), 2 bad usage, 130 interrupted."""
    parser = make_parser(
        "python -m training",
        "Make the weights that `python -m agent drive` runs.",
        _EXAMPLES,
        COMMANDS,
        verbose_first=True,
    )
    interrupted = "interrupted; the same command goes on from what was finished"
    return run_program(parser, argv, interrupted, _explain)


def _explain(exc: Exception) -> str | None:
    from safetensors import SafetensorError

    if isinstance(exc, OSError | SafetensorError):  # a disk may fill up, or a folder be read-only, at any write
        return (
            f"{exc}: a file could not be read or written, expected readable data and an --out with room. Free space or "
            "choose another folder; what was finished is kept."
        )
    if isinstance(exc, ModuleNotFoundError) and (missing := (exc.name or "").partition(".")[0]) in _EXTRA:
        return f"{missing} is not installed, expected the packages that training needs: `pip install '.[training]'`."
    return None
