"""A command of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jsonargparse import ArgumentParser, Namespace

__all__ = ["Command"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What ``m3d NAME`` is.

    Attributes:
        summary: a line for ``m3d --help``.
        declare: returns the parser of its flags; imports no torch, so that help is quick.
        run: does what the flags say and returns the exit status.
        shared: whether processes that torchrun has started share its work; else the first does it, and the others wait.
    """

    summary: str
    declare: Callable[[], ArgumentParser]
    run: Callable[[Namespace], int]
    shared: bool = False
