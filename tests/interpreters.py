"""The supported Pythons that are at hand, each with what the command line's parser imports and no more.

As a script (``make interpreters``) it makes an environment for every one that is found, and says which it could not
make; `command` gives the tests what to run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venvs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = ("jsonargparse", "pyyaml", "rich")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def supported() -> list[str]:
    """The versions that the project says it supports, such as 3.12."""
    found = (re.fullmatch(r"Programming Language :: Python :: (\d+\.\d+)", name) for name in PROJECT["classifiers"])
    return [match[1] for match in found if match]


def command(version: str) -> list[str] | None:
    """How to run a version: this very Python, or one in its environment; None where there is none."""
    if version == OWN:
        return [sys.executable]
    python = _python(version)
    return [str(python)] if _is_ready(version) else None


def make(version: str) -> str:
    """Make the environment of a version, unless it is there; say what came of it."""
    if version == OWN:
        return "runs these tests"
    if _is_ready(version):
        return "is ready"
    folder = ENVIRONMENTS / version
    for found in _candidates(version):
        shutil.rmtree(folder, ignore_errors=True)
        pip = [
            str(_python(version)),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries",
            "1",
            "--disable-pip-version-check",
        ]
        if _succeeds([found, "-m", "venv", str(folder)]) and _succeeds([*pip, *_requirements()]):
            _stamp(version).write_text("\n".join(_requirements()))
            return f"is ready, of {found}"
    shutil.rmtree(folder, ignore_errors=True)
    return "is not here, or cannot be given the packages: its tests are skipped"


def _candidates(version: str) -> Iterator[str]:
    """Every Python of a version that pyenv or the PATH has, and that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = sorted(str(path) for path in pyenv.glob(f"{version}.*/bin/python"))
    for name in [*names, f"python{version}"]:
        found = shutil.which(name)
        if found and _succeeds([found, "-c", f"import sys; sys.exit('{version}' != '%d.%d' % sys.version_info[:2])"]):
            yield found


def _requirements() -> list[str]:
    return [line for line in PROJECT["dependencies"] if re.match(r"[\w-]+", line)[0] in NEEDED]  # type: ignore[index]


def _python(version: str) -> Path:
    return ENVIRONMENTS / version / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _stamp(version: str) -> Path:
    return ENVIRONMENTS / version / "requirements.txt"


def _is_ready(version: str) -> bool:
    stamp = _stamp(version)
    return _python(version).is_file() and stamp.is_file() and stamp.read_text() == "\n".join(_requirements())


def _succeeds(arguments: list[str]) -> bool:
    return subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    for number in supported():
        print(f"Python {number} {make(number)}")
