"""The command line is read alike by every supported Python, with docstrings and without."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import interpreters
import pytest

from m3d_condense.recipes.recipe import meanings

CONFIG = "data: digits\nipc: 3\nbatch-real: 4\nlr: 1e-3\nflip: no\nlabel_column: 0\nsize: null\ncompile: 'no'\n"
COMMANDS = ("condense", "evaluate", "compare", "info", "export", "import", "push")
LINES: dict[str, list[str]] = {
    "nothing": [],
    "help": ["--help"],
    **{f"help of {name}": [name, "-h"] for name in COMMANDS},
    "condense": ["condense", "digits", "--ipc", "1", "--lr", "1e-3", "--flip", "no", "--kernel", "linear", "-q"],
    "evaluate": ["evaluate", "one", "two", "--random", "--networks", "convnet1", "convnet2"],
    "compare": ["compare", "digits", "--methods", "m3d", "dm", "--ipc", "1", "10", "--factor", "2", "--no-whole"],
    "info": ["info", "--memory", "0.5"],
    "info of sets": ["info", "one", "owner/two"],
    "export": ["export", "one", "--to", "npz", "--out", "one.npz", "--stored"],
    "import": ["import", "data.pt", "--data", "digits", "--factor", "2", "--mean", "0.1", "0.2", "--classes", "a", "b"],
    "push": ["push", "one", "owner/name", "--dry-run", "--private"],
    "config": ["condense", "--ipc", "5", "--config", "run.yaml"],
    "one for several": ["compare", "--config", "compare.json"],
    "word for a number": ["condense", "digits", "--ipc", "ten"],
    "word for a choice": ["condense", "digits", "--compile", "maybe"],
    "unknown flag": ["condense", "digits", "--rate", "1"],
    "abbreviation": ["condense", "digits", "--iter", "3"],
    "abbreviated config": ["condense", "digits", "--conf", "run.yaml"],
    "unknown command": ["condens"],
    "config without a value": ["condense", "--config", "null.yaml"],
    "config with a wrong value": ["condense", "--config", "wrong.yaml"],
}
MISTAKES = {
    "word for a number": "m3d: --ipc ten: expected a whole number\n",
    "word for a choice": "m3d: --compile maybe: expected one of 'auto', 'yes', 'no'\n",
    "unknown flag": "m3d: unrecognized arguments: --rate 1; m3d COMMAND --help lists the flags\n",
    "abbreviation": "m3d: unrecognized arguments: --iter 3; m3d COMMAND --help lists the flags\n",
    "abbreviated config": "m3d: unrecognized arguments: --conf run.yaml; m3d COMMAND --help lists the flags\n",
    "config without a value": "m3d: null.yaml: --ipc: no value; give one, or leave the line out\n",
    "config with a wrong value": "m3d: wrong.yaml: --ipc ten: expected a whole number\n",
}


@pytest.fixture(scope="module", params=[*interpreters.supported(), "without docstrings"])
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each of `LINES`, in one process of one Python."""
    version, options = (request.param, []) if request.param[0].isdigit() else (interpreters.OWN, ["-OO"])
    command = interpreters.command(version)
    if command is None:
        pytest.skip(f"no Python {version} with the parser's packages; `make interpreters` makes one where it can")
    folder = tmp_path_factory.mktemp("lines")
    (folder / "run.yaml").write_text(CONFIG)
    (folder / "compare.json").write_text('{\n\t"data": "digits",\n\t"methods": "dm",\n\t"ipc": 2\n}')
    (folder / "null.yaml").write_text("ipc: null\n")
    (folder / "wrong.yaml").write_text("ipc: ten\n")
    program = [*command, *options, str(interpreters.ROOT / "tests" / "parsing.py"), json.dumps(list(LINES.values()))]
    environment = os.environ | {"PYTHONPATH": str(interpreters.ROOT / "src"), "COLUMNS": "200"}
    done = subprocess.run(program, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert ".".join(map(str, answer["version"])) == version
    assert not answer["torch"], "parsing needs no torch"
    assert sorted(path.name for path in folder.iterdir()) == ["compare.json", "null.yaml", "run.yaml", "wrong.yaml"]
    return dict(zip(LINES, answer["outcomes"], strict=True))


def squeezed(text: str) -> str:
    """A text without what depends on where its lines were broken."""
    return "".join(text.split())


def test_every_setting_is_a_flag_with_its_help(outcomes: dict[str, Any]) -> None:
    shown = squeezed(outcomes["help of condense"]["out"])
    for name, (_, text) in meanings().items():
        assert "--" + name.replace("_", "-") in shown
        assert text
        assert squeezed(text) in shown


def test_every_command_has_help(outcomes: dict[str, Any]) -> None:
    assert outcomes["nothing"]["status"] == 2
    for name in ("help", *(f"help of {name}" for name in COMMANDS)):
        assert (outcomes[name]["status"], outcomes[name]["err"]) == (0, "")
        assert "usage: m3d" in outcomes[name]["out"]
    assert all(name in outcomes["help"]["out"] for name in COMMANDS)
    assert outcomes["nothing"]["out"] == outcomes["help"]["out"]


def test_flags_are_read_with_their_types(outcomes: dict[str, Any]) -> None:
    def given(name: str, *settings: str) -> list[Any]:
        assert outcomes[name]["command"] == name
        return [outcomes[name]["settings"][setting] for setting in settings]

    names = ("data", "ipc", "lr", "flip", "kernel", "quiet", "factor", "method", "native", "overwrite")
    assert given("condense", *names) == ["digits", 1, 0.001, False, "linear", True, None, "m3d", True, False]
    names = ("sets", "random", "whole", "networks", "repeats")
    assert given("evaluate", *names) == [["one", "two"], True, False, ["convnet1", "convnet2"], 3]
    assert given("compare", "methods", "ipc", "factor", "no_whole") == [["m3d", "dm"], [1, 10], 2, True]
    assert given("info", "memory", "device") == [0.5, "auto"]


def test_a_configuration_file_gives_defaults_and_flags_win(outcomes: dict[str, Any]) -> None:
    settings = outcomes["config"]["settings"]
    names = ("data", "ipc", "batch_real", "lr", "flip", "label_column", "size", "compile")
    assert [settings[name] for name in names] == ["digits", 5, 4, 0.001, False, "0", None, "no"]
    settings = outcomes["one for several"]["settings"]
    assert [settings[name] for name in ("data", "methods", "ipc")] == ["digits", ["dm"], [2]]


def test_mistakes_are_one_line(outcomes: dict[str, Any]) -> None:
    for name, line in MISTAKES.items():
        assert (outcomes[name]["status"], outcomes[name]["out"], outcomes[name]["err"]) == (2, "", line)
    unknown = outcomes["unknown command"]
    assert unknown["status"] == 2
    assert unknown["err"].startswith("m3d: ")
    assert "condens" in unknown["err"]
    assert unknown["err"].count("\n") == 1


def test_the_supported_versions_are_those_that_may_be_installed_on() -> None:
    assert interpreters.PROJECT["requires-python"] == f">={interpreters.supported()[0]}"
    assert {"3.11", "3.12", "3.13", "3.14"} <= set(interpreters.supported())
