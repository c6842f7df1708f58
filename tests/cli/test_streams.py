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


TINY = "condense digits --ipc 1 --batch-real 4 --network convnet1 --iterations"


@pytest.mark.parametrize("end", ["2>/dev/full", "2>&1 >out | head -1"])
def test_a_run_goes_on_where_its_messages_go_nowhere(end: str, tmp_path: Path) -> None:
    done = shell(f"{M3D} {TINY} 20 --out '{tmp_path / 'set'}' {end}")
    assert done.returncode == 0
    assert (tmp_path / "set" / "condensed.json").is_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no terminals of this kind")
def test_a_run_is_kept_where_its_terminal_is_closed(tmp_path: Path) -> None:
    import pty

    child, terminal = pty.fork()
    if child == 0:
        arguments = [*TINY.split(), "1000000", "--out", str(tmp_path / "set")]
        os.execv(sys.executable, [sys.executable, "-m", "m3d_condense", *arguments])
    logged = tmp_path / "set.metrics.jsonl"
    while not (logged.exists() and len(logged.read_text().splitlines()) > 1):
        os.read(terminal, 4096)  # or the run waits for its reader
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert (tmp_path / "set.checkpoint").is_file()


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
