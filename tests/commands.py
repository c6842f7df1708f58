"""Commands given as a user gives them, in this process."""

from __future__ import annotations

from m3d_condense.cli.main import main

SCORE = ["--repeats", "1", "--epochs", "1", "--precision", "float32", "--native", "false", "--compile", "no", "-q"]
"""Flags of `m3d evaluate`, for a score that takes a moment."""


def run(*arguments: str) -> int:
    """Run a command; return its exit status."""
    return main(arguments)
