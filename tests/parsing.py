"""Read command lines in the Python that runs this, and print as JSON what came of each; needs no torch.

The first argument is a JSON list of lists of arguments. What is parsed is not run.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

from m3d_condense.cli.arguments import parse
from m3d_condense.cli.main import main
from m3d_condense.tools.errors import UserError


def outcome(arguments: list[str]) -> dict[str, Any]:
    """The command and its settings; of a help or a mistake, the exit status and what was shown."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit, UserError):
        asked = parse(arguments)
        if asked is not None:
            return {"command": asked[0], "settings": asked[1].as_dict()}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    outcomes = [outcome(arguments) for arguments in json.loads(sys.argv[1])]
    print(json.dumps({"version": sys.version_info[:2], "torch": "torch" in sys.modules, "outcomes": outcomes}))
