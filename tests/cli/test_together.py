"""Commands in several processes that torchrun has started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser, Namespace
from together import together

from m3d_condense.cli.command import Command
from m3d_condense.cli.commands import COMMANDS
from m3d_condense.cli.main import carry_out, main
from m3d_condense.data.load import load
from m3d_condense.machine.group import Group, current
from m3d_condense.tools.errors import UserError
from m3d_condense.training.trained import load_network


@pytest.mark.parametrize(("shared", "ran_in"), [(True, [2, 2]), (False, [1])])
def test_what_processes_cannot_share_the_first_does_as_if_it_were_alone(
    shared: bool, ran_in: list[int], tmp_path: Path
) -> None:
    def run(_: Namespace) -> int:
        own = current()
        (tmp_path / f"{own.rank}-of-{own.size}").write_text(str(own.size))
        return 3

    command = Command(summary="", declare=ArgumentParser, run=run, shared=shared)
    assert together(2, lambda: carry_out(command, Namespace(), current())) == [3, 3]
    assert sorted(int(file.read_text()) for file in tmp_path.iterdir()) == ran_in


def test_a_mistake_of_the_first_ends_all_of_them() -> None:
    def run(_: Namespace) -> int:
        raise UserError("no such thing")

    command = Command(summary="", declare=ArgumentParser, run=run)
    failed, *others = together(2, lambda: carry_out(command, Namespace(), current()))
    assert {type(one) for one in (failed, *others)} == {UserError, SystemExit}  # one of them tells


def test_commands_that_deal_their_work_are_those_that_share_it() -> None:
    shared = {name for name, command in COMMANDS.items() if command.shared}
    assert shared == {"condense", "label", "evaluate", "compare", "study", "paper"}


TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "m3d_condense",
]


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (["condense", "digits", "--out", "one", "--preview-every", "1"], "--preview-every"),
        (["condense", "digits", "--out", "two", "--soft-labels"], "--soft-labels"),
        (["condense", "digits", "--estimate"], "--estimate"),
        (["condense", "digits", "--native", "false", "--device", "cpu"], "--native"),
        (["info", "one"], "the command"),
        (["evaluate", "one"], "the command"),
    ],
)
def test_processes_that_were_given_other_flags_are_refused(
    late: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def as_it_is() -> Iterator[Group]:
        yield current()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("m3d_condense.cli.main.process_group", as_it_is)
    first = ["condense", "digits", "--out", "one"]
    assert together(2, lambda: main(first if current().leads else late)) == [2, 2]
    assert f"the processes differ in {said}" in capfd.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_a_flag_that_is_none_is_told_once() -> None:
    found = subprocess.run(
        [*TORCHRUN, "condense", "digits", "--rate", "1"], capture_output=True, text=True, timeout=300
    )
    assert found.returncode != 0
    assert found.stderr.count("unrecognized arguments: --rate 1") == 1


@pytest.mark.slow
def test_all_end_where_nobody_reads_what_the_first_prints(tmp_path: Path) -> None:
    asked = ["train", "digits", "--network", "convnet-width16", "--epochs", "2", "--out", str(tmp_path / "network")]
    with subprocess.Popen([*TORCHRUN, *asked], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        while b"2 processes on" not in run.stderr.readline():
            pass
        run.stdout.close()
        run.stderr.close()
        assert run.wait(timeout=300) != 0


@pytest.mark.slow
def test_torchrun_trains_one_network_and_keeps_that(tmp_path: Path) -> None:
    out = tmp_path / "network.safetensors"
    asked = ["train", "digits", "--network", "convnet-width16", "--epochs", "2", "--precision", "float32"]
    train = [*TORCHRUN, *asked, "--out", str(out)]
    subprocess.run(train, check=True, capture_output=True, timeout=300)
    trained, test = load_network(out), load("digits").test
    right = (trained.predict(test.images) == test.labels).float().mean().item()
    assert 100 * right == pytest.approx(trained.accuracy, abs=0.01)
    assert trained.accuracy > 80
