"""A table as Markdown, LaTeX (booktabs) or CSV."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Sequence

from hifigan_jax.evaluation.table import Cell, Column, Row, Table

_GROUPS = {"anchor": "anchors", "system": "systems", "cited": "cited"}
_ARROWS = {"higher": "↑", "lower": "↓"}
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",  # in LaTeX's default font encoding these four are other characters
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after \\ it would start an optional argument
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def markdown(table: Table) -> str:
    """The table, and its caption below it."""
    return f"{markdown_rows(table)}\n{_markdown_text(table.caption)}\n"


def markdown_rows(table: Table) -> str:
    """The table alone. If it has several groups, each begins with a row that names it."""
    groups = _groups(table, _markdown_text, "**{}**", "-")
    lines = [["system", *map(_heading, table.columns)], ["---", *["---:"] * len(table.columns)]]
    for group, rows in groups.items():
        lines += [[f"*{group}*", *[""] * len(table.columns)]] if len(groups) > 1 else []
        lines += rows
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(table: Table) -> str:
    """A table environment for the package booktabs. Rules separate the groups."""
    groups = _groups(table, _latex_text, r"\textbf{{{}}}", "--")
    body = ["".join(f"    {_latex_row(row)}\n" for row in rows) for rows in groups.values()]
    header = _latex_row(["system", *(_latex_text(_heading(column)) for column in table.columns)])
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_latex_text(table.caption)}}}",
        f"  \\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"    \toprule",
        f"    {header}",
        "    \\midrule\n" + "    \\midrule\n".join(body) + r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """One line per row with all digits, in units without a prefix; no caption, nothing in bold."""
    names = {column.name: [column.name] for column in table.columns}
    for name, shown in names.items():
        if any(row.cells[name].low is not None for row in table.rows if name in row.cells):
            shown += [f"{name}_low", f"{name}_high"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "group", "source", *itertools.chain(*names.values())])
    for row in table.rows:
        cells = (tuple(row.cells.get(name, (None, None, None)))[: len(shown)] for name, shown in names.items())
        writer.writerow([row.name, row.group, row.source, *itertools.chain(*cells)])
    return text.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex, "csv": comma_separated}


def decimals(column: Column, rows: Iterable[Row]) -> int:
    """The decimal places of all numbers of a column: four significant digits of the largest."""
    largest = max((abs(row.cells[column.name].value) * column.scale for row in rows if column.name in row.cells), default=0)
    return 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 1000 else 0


def best(column: Column, rows: Sequence[Row]) -> set[int]:
    """The indices of the systems whose number, as shown, is the best; none if fewer than two have a number."""
    places = decimals(column, rows)
    shown = {
        i: round(row.cells[column.name].value * column.scale, places)
        for i, row in enumerate(rows)
        if row.group == "system" and column.name in row.cells
    }
    if len(shown) < 2:
        return set()
    target = (max if column.direction == "higher" else min)(shown.values())
    return {i for i, value in shown.items() if value == target}


def _groups(table: Table, escape: Callable[[str], str], bold: str, dash: str) -> dict[str, list[list[str]]]:
    """The texts of the rows, name first, by group."""
    columns = [_column_texts(column, table.rows, bold, dash) for column in table.columns]
    groups: dict[str, list[list[str]]] = {}
    for row, *cells in zip(table.rows, *columns, strict=True):
        name = f"{row.name} ({row.source})" if row.source else row.name
        groups.setdefault(_GROUPS[row.group], []).append([escape(name), *cells])
    return groups


def _column_texts(column: Column, rows: Sequence[Row], bold: str, dash: str) -> list[str]:
    places, winners = decimals(column, rows), best(column, rows)
    cells = (row.cells.get(column.name) for row in rows)
    return [
        dash if cell is None else _cell_text(cell, column.scale, places, bold if i in winners else "{}")
        for i, cell in enumerate(cells)
    ]


def _cell_text(cell: Cell, scale: float, places: int, emphasis: str) -> str:
    value, low, high = ("" if x is None else f"{x * scale:.{places}f}" for x in cell)
    return emphasis.format(value) + (f" [{low}, {high}]" if low else "")


def _heading(column: Column) -> str:
    return f"{column.label} {_ARROWS[column.direction]}"


def _markdown_text(text: str) -> str:
    """Text without meaning to Markdown. An underscore within a word has none."""
    return re.sub(r"([\\`*|<\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
