"""Names of classes and data sets, which may hold anything, as text that can be shown."""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, changes of the reading direction, halves of characters.
UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def one_line(value: object) -> str:
    """Return the text of `value` on one line: white space as single spaces, � for what no reader should see raw."""
    return UNSHOWABLE.sub("�", " ".join(str(value).split()))


def escaped_json(text: str) -> str:
    """Return JSON in which what no reader should see raw is written as escapes; line ends between values stay."""
    return "\n".join(UNSHOWABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in text.split("\n"))
