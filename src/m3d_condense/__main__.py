"""``python -m m3d_condense`` is the command line."""

import sys

from m3d_condense.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
