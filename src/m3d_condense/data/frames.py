"""Pictures of which not all is read: of several frames or pages one, of 16 bits in colour 8. They are told once."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from m3d_condense.tools.progress import notice


class Several(msgspec.Struct, kw_only=True):
    """How many pictures have several frames or pages, and how many lose low bits, and where the first of each lies."""

    count: int = 0
    example: str = ""
    cut: int = 0
    cut_example: str = ""

    def add(self, pictures: Iterable[str], cut: Iterable[str] = ()) -> None:
        """Count pictures of several frames, and those that lose their low bits, each given by where it lies."""
        for where in pictures:
            self.example = self.example or _printable(where)
            self.count += 1
        for where in cut:
            self.cut_example = self.cut_example or _printable(where)
            self.cut += 1

    def tell(self, total: int, used: str = "the first of each") -> None:
        """Say how many there are of `total`, and in words which frames are used; nothing where there are none."""
        if self.count > 0:
            some = f"{self.count:,} of {total:,} images {'has' if self.count == 1 else 'have'} several frames or pages"
            notice(f"{some}, as {self.example}: {used} is used, the others are not")
        if self.cut > 0:
            some = (
                f"{self.cut:,} of {total:,} images {'is' if self.cut == 1 else 'are'} in colour with 16 bits a channel"
            )
            notice(f"{some}, as {self.cut_example}: the high 8 are used, of which dark ones fill few")


def _printable(where: str) -> str:
    return where.encode(errors="backslashreplace").decode()  # a file's name may be no text
