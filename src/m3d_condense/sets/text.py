"""Names of classes and data sets, which may hold anything, and numbers of steps, as text that can be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from m3d_condense.tools.text import CONTROL, shown

UNSHOWABLE = re.compile(f"[{CONTROL}\ud800-\udfff]")  # and halves of characters, which no file in UTF-8 can hold
LONGEST = 200  # characters of a name


def one_line(value: object) -> str:
    """Return a name on one line of at most `LONGEST` characters: see `shown`; white space as single spaces."""
    return UNSHOWABLE.sub("�", shown(" ".join(str(value)[: 2 * LONGEST].split()), LONGEST))


def taken(steps: int, settings: Mapping[str, Any]) -> str:
    """Return the number of steps, and of how many, where a time limit stopped them."""
    asked = settings.get("iterations")
    return f"{steps:,} of {asked:,}" if isinstance(asked, int) and asked > steps else f"{steps:,}"


def escaped_json(text: str) -> str:
    """Return JSON in which what no reader should see raw is written as escapes; line ends between values stay."""
    return "\n".join(UNSHOWABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in text.split("\n"))
