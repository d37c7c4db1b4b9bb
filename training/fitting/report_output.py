"""Runs of ``fit`` laid over each other: their curves in one picture, their last and best rounds in tables."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.contract.durable import replace_file
from agent.contract.errors import TrainingError
from training.fitting.report import Run, differing_settings, notes

_LOGARITHMIC = ("loss", "_mae")
_AXIS_LABELS = {"step": "steps", "samples": "samples drawn", "seconds": "seconds of training"}
_LEGEND_COLUMNS = 5
_HEADINGS = {"samples_per_second": "samples/s", "validation_loss": "valid. loss", "co_pressed": "both pedals"}


def print_report(runs: Sequence[Run], console: Console) -> None:
    """Print last and best round of every run, and the settings in which they differ."""
    for header, *rows in _tables(runs):
        table = Table(box=box.SIMPLE, padding=0, show_edge=False)
        for number, heading in enumerate(header):
            first = number == 0
            table.add_column(heading, justify="left" if first else "right", no_wrap=first, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))  # not markup: a folder may be called run[2]
        console.print(table, "")
    for note in notes(runs):
        console.print(f"note: {note}", soft_wrap=True)


def _tables(runs: Sequence[Run]) -> list[list[list[str]]]:
    """Return several tables, each narrow enough for a terminal: lists of rows, of which the first is the heading."""
    figures = list(runs[0].figures(0))
    errors = [name for name in figures if name == "validation_loss" or name.endswith(("_mae", "_correlation"))]
    tables = [_rounds_table(runs, [name for name in figures if name not in errors]), _rounds_table(runs, errors)]
    if differing := differing_settings(runs):
        values = [[name, *map(_setting, settings)] for name, settings in differing.items()]
        tables.append([["setting", *(run.name for run in runs)], *values])
    return tables


def _rounds_table(runs: Sequence[Run], columns: Sequence[str]) -> list[list[str]]:
    """Return a heading, and two rows for each run (one if its last round is its best); no empty columns."""
    rows = []
    for run in runs:
        last, best = run.figures(-1), run.figures(run.best)
        rows += [(run.name, "both", last)] if last == best else [(run.name, "last", last), ("", "best", best)]
    columns = [name for name in columns if any(figures[name] is not None for _, _, figures in rows)]
    return [
        ["run", "", *(_heading(name) for name in columns)],
        *([name, which, *(_format(column, figures[column]) for column in columns)] for name, which, figures in rows),
    ]


def _setting(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _heading(column: str) -> str:
    if column.endswith("_mae"):
        return f"{column.removesuffix('_mae')} MAE"
    if column.endswith("_correlation"):
        return f"{column.removesuffix('_correlation')} corr."
    return _HEADINGS.get(column, column.replace("_", " "))


def _format(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column == "co_pressed":
        return f"{value:.1%}"
    digits = {"round": 0, "step": 0, "samples": 0, "seconds": 0, "samples_per_second": 1, "return": 1}
    return f"{value:,.{digits.get(column, 3)}f}"


def write_report(runs: Sequence[Run], path: Path, by: str = "step") -> None:
    """Write the curves as a PNG, or curves and tables as a single HTML file.

    Args:
        runs: The runs to overlay.
        path: Ends in ``.png`` or ``.html``; an existing file is replaced.
        by: The horizontal axis, one of ``AXES``.

    Raises:
        TrainingError: If matplotlib is not installed, or a log does not have that axis.
        OSError: If the file cannot be written.
    """
    picture = draw_curves(runs, by)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, picture if path.suffix.lower() == ".png" else _page(runs, picture))


def draw_curves(runs: Sequence[Run], by: str = "step") -> bytes:
    """Draw a panel for each loss, metric and cost, with a colour for each run; return a PNG.

    Raises:
        TrainingError: If matplotlib is not installed, or a log does not have that axis.
    """
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure  # not pyplot: no display, no global state
        from matplotlib.lines import Line2D
    except ImportError as exc:
        raise TrainingError(
            f"the picture needs matplotlib, which cannot be imported ({exc}). Install it with `python -m pip install "
            '-e ".[training]"`, or leave --out away.'
        ) from exc

    positions = [run.positions(by) for run in runs]
    colours = [
        colormaps["tab10"](n) if len(runs) <= 10 else colormaps["turbo"](n / len(runs)) for n in range(len(runs))
    ]
    grid = _panels(runs)
    width = max(len(row) for row in grid)
    legend_rows = -(-len(runs) // _LEGEND_COLUMNS)
    figure = Figure(figsize=(4.0 * width, 2.6 * len(grid) + 0.8 + 0.25 * legend_rows), layout="constrained")
    cells = figure.subplots(len(grid), width, squeeze=False)
    for cell, panel in zip(cells.flat, [panel for row in grid for panel in _padded(row, width)], strict=True):
        if panel is None:
            cell.remove()
            continue
        curves = [
            (run.columns[panel], xs, colour)
            for run, xs, colour in zip(runs, positions, colours, strict=True)
            if panel in run.columns
        ]
        for ys, xs, colour in curves:
            known = np.isfinite(ys)
            # A dot for each round: a single round makes no line.
            cell.plot(xs[known], ys[known], color=colour, marker=".", markersize=4, linewidth=1.2)
        if panel.endswith(_LOGARITHMIC) and not any((ys <= 0).any() for ys, _, _ in curves):
            cell.set_yscale("log")
        cell.set_title(_heading(panel), fontsize=10)
        cell.grid(alpha=0.3, which="both")
    what = f"{len(runs)} runs" if len(runs) > 1 else runs[0].name
    title = figure.suptitle("\n".join([f"{what}, over {_AXIS_LABELS[by]}", *notes(runs)]), fontsize=10)
    lines = [Line2D([], [], color=colour, marker=".") for colour in colours]
    names = [run.name for run in runs]
    legend = figure.legend(lines, names, loc="outside lower center", ncols=min(len(runs), _LEGEND_COLUMNS))
    for text in (title, *legend.get_texts()):
        text.set_parse_math(False)  # a name with dollars is no formula
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _panels(runs: Sequence[Run]) -> list[list[str | None]]:
    """Return the rows of panels by column of the log; None where no run has the column."""
    outputs = runs[0].outputs
    rows = [
        [*(f"{output}_loss" for output in outputs), "loss"],
        [*(f"{output}_mae" for output in outputs), "validation_loss"],
        [*(f"{output}_correlation" for output in outputs), "return"],
        ["co_pressed", "samples_per_second", "learning_rate"],
    ]
    known = {name for run in runs for name, values in run.columns.items() if np.isfinite(values).any()}
    grid = [[panel if panel in known else None for panel in row] for row in rows]
    return [row for row in grid if any(row)]


def _padded(row: list[str | None], width: int) -> list[str | None]:
    return [*row, *[None] * (width - len(row))]


_STYLE = (
    "body{font-family:sans-serif;margin:2em}img{max-width:100%}table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "th:first-child,td:first-child{text-align:left}"
)


def _page(runs: Sequence[Run], picture: bytes) -> str:
    title = html.escape(", ".join(run.name for run in runs))
    return "\n".join(
        [
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f'<img alt="curves" src="data:image/png;base64,{base64.b64encode(picture).decode()}">',
            *(_html_table(table) for table in _tables(runs)),
            *(f"<p>{html.escape(note)}</p>" for note in notes(runs)),
            "</body></html>\n",
        ]
    )


def _html_table(rows: list[list[str]]) -> str:
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        lines.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>")
    return "<table>" + "\n".join(lines) + "</table>"
