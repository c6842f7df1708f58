"""What the command line says of a command that it refuses."""

from __future__ import annotations

import pytest

from m3d_condense.cli.main import main


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that the user got wrong, and return the one line of complaint."""
    capsys.readouterr()
    assert main([*arguments, "-q"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]
