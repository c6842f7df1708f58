"""Tables as files hold them: GitHub's Markdown, and comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from m3d_condense.tools.text import shown

TEXTS = ("data", "method", "network", "preset", "differs in")  # columns that stand at the left; the others hold numbers


def markdown(lines: Sequence[Mapping[str, str]]) -> str:
    """Return lines as a table in GitHub's Markdown; nothing without lines."""
    if not lines:
        return ""
    rule = ["---" if name in TEXTS else "---:" for name in lines[0]]
    cells = [[cell.replace("|", r"\|") for cell in line.values()] for line in lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in (lines[0], rule, *cells))


def comma_separated(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return what the rows have under these names, under a line of the names; numbers are in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: shown(value) if isinstance(value, str) else value for name, value in row.items()})
    return text.getvalue()
