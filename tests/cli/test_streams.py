"""The command line keeps its manners whatever becomes of its standard streams."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from m3d_condense.cli.main import main
from m3d_condense.cli.streams import as_shown, prepare

pytestmark = pytest.mark.usefixtures("own_folder")
M3D = f"'{sys.executable}' -m m3d_condense"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, env=os.environ | {"PYTHONUNBUFFERED": ""} | environment
    )


class Ascii(io.TextIOWrapper):
    """A standard output that shows ASCII only."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")

    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]


def test_closed_streams_are_no_tracebacks() -> None:
    done = shell(f"{M3D} condens 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")  # the message does not go to the output
    done = shell(f"{M3D} condense --help >&-")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_output_that_cannot_be_written_is_said_once() -> None:
    done = shell(f"{M3D} --help >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith(b"m3d: ")
    assert b"No space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1
    done = shell(f"{M3D} condens 2>/dev/full")
    assert (done.returncode, done.stdout) == (2, b"")


def test_files_do_not_take_the_place_of_closed_streams() -> None:
    program = "from m3d_condense.cli.streams import prepare; prepare(); print(open('new', 'w').fileno())"
    done = shell(f"'{sys.executable}' -c \"{program}\" <&- 2>&-")
    assert int(done.stdout) > 2


def test_a_run_needs_no_standard_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    arguments = ["--ipc", "1", "--iterations", "1", "--network", "convnet1", "--compile", "no", "--out", "one"]
    assert main(["condense", "digits", *arguments]) == 0
    assert capsys.readouterr().out == "one\n"
    assert Path("one/condensed.json").is_file()


def test_tables_keep_their_columns_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = Ascii()
    monkeypatch.setattr(sys, "stdout", stdout)
    common = ["--ipc", "1", "--epochs", "1", "--repeats", "2", "--compile", "no", "-q"]
    assert main(["evaluate", "digits", "--random", "--networks", "convnet1", *common]) == 0
    shown = stdout.shown()
    assert " +/- " in shown
    assert len({len(line) for line in shown.splitlines()}) == 1, shown


def test_help_is_shown_in_ascii() -> None:
    done = shell(f"{M3D} condense --help", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"each stored image holds lxl smaller images" in b" ".join(done.stdout.split())


def test_names_that_are_no_text_are_printed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    prepare()
    name = os.fsdecode(b"runs/\xff")
    print(name, flush=True)
    assert sys.stdout.buffer.getvalue() == b"runs/\xff\n"  # type: ignore[attr-defined]
    assert as_shown(f"{name} ± ×") == f"{name} ± ×"


def test_the_users_own_choice_of_replacements_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="ignore"))
    prepare()
    print("1 ± 2", flush=True)
    assert sys.stdout.buffer.getvalue() == b"1  2\n"  # type: ignore[attr-defined]
