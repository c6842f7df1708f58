"""``python -m m3d_condense`` and ``m3d`` are the command line, which from its first moment on can be interrupted."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from m3d_condense.tools.interrupt import interruptible


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; an interrupt while it is still being imported ends it too."""
    with interruptible():
        from m3d_condense.cli.main import main as command_line

        return command_line(argv)


if __name__ == "__main__":
    sys.exit(main())
