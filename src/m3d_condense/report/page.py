"""The page itself: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from m3d_condense.report.comparing import Compared, comparison, of_facts
from m3d_condense.report.content import content
from m3d_condense.report.facts import Facts
from m3d_condense.report.sheet import Sheet
from m3d_condense.sets.folder import REPORT, is_condensed_set
from m3d_condense.sets.text import one_line
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.files import check_file, write_file_atomic
from m3d_condense.tools.locks import check_writable
from m3d_condense.tools.versions import installed

LIMIT = 2_000_000  # bytes of the page
BUDGET = 1_200_000  # bytes of its pixels, at first
MARK = b'<meta name="generator" content="m3d report'
HERE = Path(__file__).parent


def check_target(out: Path) -> None:
    """Raise `UserError` for what is no name of a page, a file that is no report, and a place in a set but its own."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError("the report is a page: end its name in .html", setting="out", value=out)
    in_set = out.name == REPORT and is_condensed_set(out.parent)
    check_file(out, "report", lambda file: MARK in file.read_bytes()[:4096], overwrite=True, in_set=in_set)
    check_writable(out)


def write_page(found: Sequence[Facts], compared: Sequence[Compared], out: Path) -> None:
    """Write the page of these sets, and of the lines of a comparison, whole or not at all."""
    write_file_atomic(out, page(found, compared))


def page(found: Sequence[Facts], compared: Sequence[Compared] = ()) -> str:
    """Return the page as HTML of at most two million bytes; where it would be larger, fewer images are shown.

    Args:
        found: the facts of the sets that are shown.
        compared: the lines of a comparison; with none, several sets are compared with each other.
    """
    budget = BUDGET
    text = _rendered(found, compared, budget)
    while len(text.encode("utf-8", "backslashreplace")) > LIMIT and budget > 1:
        budget //= 2
        text = _rendered(found, compared, budget)
    return text


def _rendered(found: Sequence[Facts], compared: Sequence[Compared], budget: int) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    sheet = Sheet()
    shown = [content(facts, number, sheet, budget // len(found)) for number, facts in enumerate(found, 1)]
    rows = list(compared) or (of_facts(found) if len(found) > 1 else [])
    text = "Test accuracy, mean ± sample standard deviation of n networks, beside what a set takes."
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["close"] = _close
    now = datetime.now(UTC)
    return environment.get_template("page.html.jinja").render(
        title=_title(found),
        created=f"{now.day} {now:%B %Y}",
        generator=f"m3d report {installed()}",
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        sets=shown,
        comparison=comparison(rows, text) if rows else None,
        sheet=base64.b64encode(sheet.png()).decode(),
        sheet_width=sheet.size[0],
    )


def _close(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(r"(?<=\d) (?=%|s\b|min\b|h\b|B\b|KiB\b|MiB\b|GiB\b)|(?<==) (?=\d)|(?<=n) (?==)", "\u00a0", text)


def _title(found: Sequence[Facts]) -> str:
    sources = list(dict.fromkeys(one_line(facts.condensed.source.get("name", "unnamed")) for facts in found))
    methods = list(dict.fromkeys(one_line(facts.condensed.maker) for facts in found))
    what = sources[0] if len(sources) == 1 else f"{len(sources)} data sets"
    how = methods[0] if len(methods) == 1 else f"{len(methods)} methods"
    if len(found) > 1 and len(methods) == 1:
        return f"{what}: {len(found)} sets of {how}"
    return f"{what}, condensed by {how}"
