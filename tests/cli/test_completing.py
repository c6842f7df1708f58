"""What shells complete: commands, flags, names and folders, asked of a shell that has read the script."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from commands import run

ASK = """
eval "$SCRIPT"
words=("$@")
COMP_WORDS=("${words[@]}"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_shtab_m3d
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script() -> str:
    pytest.importorskip("shtab")
    done = subprocess.run(
        [sys.executable, "-m", "m3d_condense", "--print-completion", "bash"], capture_output=True, text=True, check=True
    )
    return done.stdout


def completed(script: str, *words: str) -> set[str]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    asked = [bash, "-c", ASK, "ask", "m3d", *words]
    done = subprocess.run(asked, env={"SCRIPT": script}, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["co"], {"condense", "compare"}),
        (["condense", "--enc"], {"--encoder-lr", "--encoder-steps"}),
        (["condense", "--method", "m3d-p"], {"m3d-pool", "m3d-plus", "m3d-polynomial"}),
        (["evaluate", "set", "--protocol", ""], {"quick", "idc", "dm"}),
        (["paper", "table2", "--precision", "b"], {"bfloat16"}),
        (["cache", "re"], {"remove"}),
    ],
)
def test_bash_completes(script: str, words: list[str], expected: set[str]) -> None:
    assert completed(script, *words) >= expected
    assert all(found.startswith(words[-1]) for found in completed(script, *words))


def test_what_is_no_shell_or_not_installed_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("shtab")
    assert run("--print-completion", "csh") == 2
    assert re.match(r"m3d: --print-completion csh: shtab .* writes for bash, zsh, ", capsys.readouterr().err)
    assert run("--print-completion") == 2
    assert "--print-completion" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert run("--print-completion", "bash") == 2
    assert capsys.readouterr().err == "m3d: shtab writes the script, and is not installed; pip install shtab\n"
