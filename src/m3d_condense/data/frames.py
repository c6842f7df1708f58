"""Pictures of several frames or pages, of which one is read: how many there are, to be told once."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from m3d_condense.tools.progress import notice


class Several(msgspec.Struct, kw_only=True):
    """How many pictures have several frames or pages, and where the first of these pictures lies."""

    count: int = 0
    example: str = ""

    def add(self, pictures: Iterable[str]) -> None:
        """Count pictures, each given by where it lies."""
        for where in pictures:
            if self.count == 0:
                self.example = where.encode(errors="backslashreplace").decode()  # a file's name may be no text
            self.count += 1

    def tell(self, total: int, used: str = "the first of each") -> None:
        """Say how many there are of `total`, and in words which frames are used; nothing where there are none."""
        if self.count > 0:
            some = f"{self.count:,} of {total:,} images {'has' if self.count == 1 else 'have'} several frames or pages"
            notice(f"{some}, as {self.example}: {used} is used, the others are not")
