from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pictures
import pytest
import torch
import yaml
from commands import run

import m3d_condense
from m3d_condense import networks
from m3d_condense.condensing.condensation import recipe_for
from m3d_condense.data import sources
from m3d_condense.data.load import load
from m3d_condense.recipes.protocols import PROTOCOLS
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.tools.errors import UserError

pytestmark = pytest.mark.usefixtures("own_folder")
TINY = ["--ipc", "1", "--iterations", "2", "--batch-real", "4", "--precision", "float32", "--compile", "no"]
RECIPE = Recipe.__dataclass_fields__.keys()
MODULE = [sys.executable, "-m", "m3d_condense"]


def started(arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([*MODULE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# Help


def test_help_names_the_commands_and_needs_no_torch() -> None:
    program = (
        "import sys\n"
        "from m3d_condense.cli.main import main\n"
        "names = ('condense', 'evaluate', 'info', 'export', 'import', 'push')\n"
        "for arguments in ([], ['--help'], ['--version'], *([name, '--help'] for name in names)):\n"
        "    main(arguments)\n"
        "assert not {'torch', 'datasets', 'sklearn'} & sys.modules.keys(), 'help imports too much'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in ("condense", "evaluate", "info", "--ipc", "--batch-real", "--whole", "--device", "--config"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "condense" in capsys.readouterr().out


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"m3d-condense {m3d_condense.__version__}\n"


def test_the_help_names_the_data_sets_and_networks_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*sources.NAMES, *networks.NAMES, *PROTOCOLS))


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--device", "cpu", "--precision", "float32", "--memory", "0.5") == 0
    shown = capsys.readouterr().out
    for word in ("torch", "cpu", "float32", "512 MiB for", "method m3d", "protocol idc", "digits"):
        assert word in shown


# Condensing and scoring


def test_condense_then_evaluate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("condense", "digits", *TINY) == 0
    printed = capsys.readouterr()
    assert printed.out == "runs/digits-m3d-ipc1\n"  # the folder alone: for a script to use
    assert "score with: m3d evaluate runs/digits-m3d-ipc1" in printed.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits-m3d-ipc1"]
    arguments = ["--epochs", "2", "--repeats", "2", "--precision", "float32", "--compile", "no"]
    assert run("evaluate", "runs/digits-m3d-ipc1", "--random", "--json", "-q", *arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    rows = json.loads(printed.out)
    assert [row["set"] for row in rows] == ["runs/digits-m3d-ipc1", "random, 1 per class"]
    assert all(row["n"] == len(row["accuracies"]) == 2 for row in rows)
    stored = CondensedSet.load("runs/digits-m3d-ipc1").scores
    assert [score.accuracies for score in stored] == [rows[0]["accuracies"]]
    repeated = evaluate("runs/digits-m3d-ipc1", epochs=2, repeats=2).accuracies
    assert len(repeated) == 2


def test_the_table_has_a_row_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--epochs", "1", "--repeats", "1", "--compile", "no", "--random", "--ipc", "1"]
    assert run("evaluate", "digits", "--networks", "convnet1", "convnet2", *common) == 0
    shown = capsys.readouterr().out
    assert shown.count("random, 1 per class") == 2
    assert "convnet1" in shown
    assert "convnet2" in shown
    assert "\x1b" not in shown
    assert "reading" not in shown
    assert run("evaluate", "digits", "--networks", "convnet1", "--readings", "2", *common) == 0
    shown = capsys.readouterr().out
    assert "best reading" in shown


def test_a_data_set_alone_is_no_subject(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "digits") == 2
    assert "not a condensed set; --whole or --random" in capsys.readouterr().err


def bytes_of(folder: str) -> bytes:
    return CondensedSet.load(folder).images.numpy().tobytes()


def test_a_config_file_and_flags_over_it(tmp_path: Path) -> None:
    settings = {"data": "digits", "ipc": 1, "iterations": 2, "batch-real": 4, "kernel": "linear", "flip": True}
    settings |= {"compile": "no", "precision": "float32"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    assert run("condense", "--config", "run.yaml", "--out", "one") == 0
    made = CondensedSet.load("one").settings
    assert (made["kernel"], made["batch_real"], made["flip"], made["iterations"]) == ("linear", 4, True, 2)
    assert run("condense", "--ipc", "2", "--config=run.yaml", "--kernel", "gaussian", "--out", "two") == 0
    made = CondensedSet.load("two").settings
    assert (made["kernel"], made["ipc"], made["batch_real"]) == ("gaussian", 2, 4)
    assert run("condense", "digits", "--config", "run.yaml", "--no-such", "--out", "three") == 2


def test_a_stored_set_as_config_repeats_its_run() -> None:
    assert run("condense", "digits", *TINY, "--seed", "5", "--lr", "0.1", "--time-limit", "1h", "--out", "one") == 0
    assert run("condense", "--config", "one", "--compile", "no", "--out", "two") == 0
    assert bytes_of("one") == bytes_of("two")
    first, second = CondensedSet.load("one"), CondensedSet.load("two")
    assert {name: first.settings[name] for name in RECIPE} == {name: second.settings[name] for name in RECIPE}
    assert first.source == second.source
    assert run("condense", "--config", "one/condensed.json", "--seed", "6", "--out", "three") == 0
    assert bytes_of("three") != bytes_of("one")


def test_of_a_stored_set_another_method_or_preset_takes_what_is_no_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("condense", "digits", "--ipc", "2", "--seed", "5", "--method", "random", "--out", "one") == 0
    assert run("condense", "--config", "one", "--method", "dm", *TINY[2:], "--out", "two") == 0
    assert "its data, ipc and seed are taken" in capsys.readouterr().err
    made, usual = CondensedSet.load("two"), recipe_for(load("digits"), "dm", "quick", 2, {})
    assert (made.method, made.settings["ipc"], made.settings["seed"]) == ("dm", 2, 5)
    assert made.steps == made.settings["iterations"] > 0
    for name in ("objective", "optimizer", "lr", "lr_schedule", "augmentation"):
        assert made.settings[name] == getattr(usual, name)
    assert run("condense", "--config", "one", "--method", "random", "--out", "three") == 0
    assert bytes_of("three") == bytes_of("one")


def test_a_name_with_blanks_is_quoted_in_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("condense", "digits", "--ipc", "1", "--method", "random", "--out", "a set") == 0
    assert "m3d evaluate 'a set'" in capsys.readouterr().err


def test_a_finished_run_is_not_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("condense", "digits", *TINY, "--out", "one") == 0
    created = CondensedSet.load("one").created
    capsys.readouterr()
    assert run("condense", "digits", *TINY, "--out", "one") == 0
    assert "already condensed" in capsys.readouterr().err
    assert CondensedSet.load("one").created == created


# The process as a whole


# That both signals do the same is tested without a process of its own in condensing/test_resume.py and test_compare.py.
@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_command_goes_on_when_it_is_given_again(
    sent: signal.Signals, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # So many steps that the process cannot finish first; the limit of time ends the second one.
    arguments = ["condense", "digits", *TINY, "--iterations", "100000", "--network", "convnet1", "--out", "one"]
    process, logged = started(arguments), tmp_path / "one.metrics.jsonl"
    while process.poll() is None and not (logged.exists() and logged.read_text()):
        time.sleep(0.1)  # until the loop has logged a step
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopping at the end of this step" in err
    assert err.splitlines()[-1] == "m3d: interrupted"
    assert "Traceback" not in err
    assert out == ""
    assert "\x1b" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.checkpoint", "one.metrics.jsonl"]
    assert run(*arguments, "--time-limit", "0.01s") == 0
    assert "going on from step" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.checkpoint"]
    assert run("info", "one") == 0
    assert " of 100,000 steps in " in capsys.readouterr().out


def test_an_interrupt_amid_an_import_that_swallows_it_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(5)\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
    )
    process = started(["condense", "digits", *TINY, "--network", "deaf:network", "--out", "one"])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "m3d: interrupted\n")
    assert not (tmp_path / "one").exists()


def test_quiet_says_nothing_and_a_pipe_gets_no_colours(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MODULE, "condense", "digits", *TINY, "--out", "one", "-q"],
        capture_output=True,
        text=True,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "one\n")
    assert (tmp_path / "one" / "condensed.json").is_file()


def test_a_reader_that_leaves_is_no_traceback() -> None:
    process = started(["info"])
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait(timeout=60)
    assert err == ""


def test_each_set_is_compared_with_random_selections_of_its_own_source(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pictures.folder(tmp_path / "pictures", shape=(8, 8, 3))
    assert run("condense", "digits", *TINY, "--out", "one", "-q") == 0
    assert run("condense", "pictures", *TINY, "--out", "two", "-q") == 0
    capsys.readouterr()
    arguments = ["--random", "--whole", "--epochs", "1", "--repeats", "1", "--compile", "no", "--json", "-q"]
    assert run("evaluate", "one", "two", *arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["set"] for row in rows] == [
        "one",
        "two",
        "random, 1 per class of digits",
        "whole digits",
        "random, 1 per class of pictures",
        "whole pictures",
    ]
    assert [row["settings"]["flip"] for row in rows] == [False, True, False, False, True, True]


def test_mistakes_are_named_as_the_caller_would_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="^repeats=0: at least 1$") as caught:
        evaluate("digits", repeats=0)
    assert (caught.value.setting, caught.value.value) == ("repeats", 0)
    assert run("evaluate", "digits", "--random", "--repeats", "0", "-q") == 2
    assert capsys.readouterr().err == "m3d: --repeats 0: at least 1\n"
    with pytest.raises(UserError, match="^repeats=0"):
        evaluate("digits", repeats=0)


# Data


def test_layout_is_a_flag_and_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("set.npz", x=pictures.noise(10, 3, 8, 3), y=np.arange(10) % 2)
    assert run("condense", "set.npz", "--method", "random", "--ipc", "1") == 2
    assert (
        "(--layout NHWC) or RGB images of 8×3 pixels, channels first (--layout NCHW): say which"
        in capsys.readouterr().err
    )
    assert run("condense", "set.npz", "--layout", "NCHW", "--method", "random", "--ipc", "1", "--out", "made") == 0
    assert CondensedSet.load("made").source["layout"] == "NCHW"
    assert run("condense", "--config", "made", "--out", "again") == 0
    assert torch.equal(CondensedSet.load("again").images, CondensedSet.load("made").images)
    assert run("evaluate", "made", "--epochs", "1", "--repeats", "1", "--networks", "convnet1") == 0


def test_more_images_than_there_are_is_a_plain_percentage(capsys: pytest.CaptureFixture[str]) -> None:
    images = pictures.noise(8, 8, 8)
    np.savez("set.npz", x_train=images[:4], y_train=[0, 1, 0, 1], x_test=images[4:], y_test=[0, 1, 0, 1])
    assert run("condense", "set.npz", "--method", "random", "--ipc", "10") == 0
    assert "20 images for 4 (500 %)" in capsys.readouterr().err


def test_a_small_set_is_measured_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("set.npz", x=pictures.noise(10, 8, 8), y=np.arange(10) % 2)
    assert run("condense", "set.npz", "--method", "random", "--ipc", "1", "--out", "made") == 0
    assert "2 images for 8 (25 %), 128 B, in" in capsys.readouterr().err
    assert run("info", "--device", "cpu", "--memory", "0.001") == 0
    assert "1.0 MiB for the activations" in capsys.readouterr().out


def test_other_data_are_read_at_the_size_of_the_set(capsys: pytest.CaptureFixture[str]) -> None:
    pictures.folder(Path("small"))
    pictures.folder(Path("large"), shape=(9, 12, 3))
    assert run("condense", "small", "--size", "6", "--method", "random", "--ipc", "1", "--out", "made") == 0
    assert run("evaluate", "made", "--data", "large", "--epochs", "1", "--repeats", "1") == 0
    assert run("evaluate", "made", "--data", "large", "--size", "8", "--epochs", "1", "--repeats", "1") == 2
    assert "; --size makes them fit" in capsys.readouterr().err
    Path("small").rename("moved")
    assert run("evaluate", "made") == 2
    assert "small, which this set was condensed from, is gone; say with --data where it is" in capsys.readouterr().err
