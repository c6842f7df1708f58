"""Lists that number their pictures, as CUB-200 and NABirds have them: rewritten with the names of the pictures.

Each has rows of a picture's number and what is said of it: ``images.txt`` its path, ``train_test_split.txt`` 1 for
training and 0 for testing, ``image_class_labels.txt`` the number of its class, whose name is that of its folder.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from m3d_condense.tools.errors import UserError

IMAGES, SPLIT, CLASSES = "images.txt", "train_test_split.txt", "image_class_labels.txt"
SAID = {"1": "train", "0": "test"}


def with_names(texts: Mapping[str, str], shown: str) -> dict[str, str]:
    """Put the names of pictures in the place of their numbers; other texts, by their paths from the root, stay.

    Raises UserError for a number without a picture.
    """
    found = dict(texts)
    for path in [path for path in texts if posixpath.basename(path) == IMAGES]:
        folder, pictures = posixpath.dirname(path), _rows(found.pop(path))
        split = posixpath.join(folder, SPLIT)
        said = _rows(texts.get(split, ""))
        if not said or not set(said.values()) <= SAID.keys():
            continue
        unknown = next((number for number in said if number not in pictures), None)
        if unknown is not None:
            raise UserError(f"{shown}/{split}: {unknown} is no number of {IMAGES}; correct it, or move both away")
        found[split] = "".join(f"{pictures[number]}\t{SAID[value]}\n" for number, value in said.items())
        found.pop(posixpath.join(folder, CLASSES), None)
    return found


def _rows(text: str) -> dict[str, str]:
    """Read lines of a number, or another word, and what is said of it."""
    rows = (line.split(maxsplit=1) for line in text.removeprefix("\ufeff").splitlines())
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}
