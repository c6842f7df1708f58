from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import condensed_sets
import pytest

from m3d_condense.cli.arguments import parse
from m3d_condense.cli.commands import COMMANDS
from m3d_condense.cli.main import main
from m3d_condense.cli.wording import TRUE_OR_FALSE, flag
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import Setting, UserError, wording

pytestmark = pytest.mark.usefixtures("own_folder")
RECIPE = {"method": "dm", "preset": "quick", "ipc": 2, "seed": 7, "factor": 2, "lr": 0.5, "flip": False}
SOURCE = {"data": "digits", "size": 16, "image_column": None, "label_column": None, "seed": 3, "name": "digits"}


def stored(folder: str = "one", **settings: Any) -> None:
    condensed_sets.make(settings=RECIPE | settings, source=SOURCE | {"fingerprint": "sha256:0"}).save(folder)


def settings(*arguments: str) -> dict[str, Any]:
    with wording(flag):
        asked = parse(arguments)
    assert asked is not None
    return dict(asked[1].as_dict())


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        settings(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files


def test_switches_take_true_and_false_only(tmp_path: Path) -> None:
    for text, expected in (("yes", True), ("true", True), ("off", False)):
        (tmp_path / "run.yaml").write_text(f"overwrite: {text}\n")
        assert settings("condense", "--config", "run.yaml")["overwrite"] is expected
    for text in ('"no"', '"false"', "0", "1", "[]", ""):
        (tmp_path / "run.yaml").write_text(f"overwrite: {text}\n")
        assert refused("condense", "--config", "run.yaml").startswith("run.yaml: --overwrite: expected true or false")


@pytest.mark.parametrize(
    ("command", "name", "values"),
    [
        ("paper", "only", ["mnist/1", "cifar10/10"]),
        ("paper", "methods", ["random", "dm"]),
        ("paper", "networks", ["convnet", "resnet10"]),
        ("compare", "methods", ["random", "dm"]),
        ("compare", "ipc", [1, 10]),
        ("condense", "classes", ["one", "no"]),
        ("study", "vary", ["lr=0.1,0.2", "factor=1"]),
    ],
)
def test_what_takes_several_values_takes_one_or_a_list(command: str, name: str, values: list[Any]) -> None:
    for given, expected in ((values, values), (values[0], values[:1])):
        Path("run.json").write_text(json.dumps({name: given}))
        assert settings(command, "--config", "run.json")[name] == expected


def test_a_flag_of_two_names_is_a_setting_by_either(tmp_path: Path) -> None:
    for name in ("budget", "time_limit", "time-limit"):
        Path("run.yaml").write_text(f"{name}: 5s\n")
        assert settings("paper", "table2", "--config", "run.yaml")["time_limit"] == "5s"
    Path("run.yaml").write_text("budget: 5s\ntime_limit: 3s\n")
    assert refused("paper", "table2", "--config", "run.yaml") == "run.yaml: --time-limit: given twice"


def test_a_setting_without_a_default_may_be_left_empty(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lr:\nsize: null\n")
    given = settings("condense", "--config", "run.yaml")
    assert (given["lr"], given["size"]) == (None, None)
    for line, name in (("ipc: null", "--ipc"), ('out: ""', "--out"), ('data: " "', "--data"), ("lr: ''", "--lr")):
        (tmp_path / "run.yaml").write_text(f"{line}\n")
        said = refused("condense", "--config", "run.yaml")
        assert said == f"run.yaml: {name}: no value; give one, or leave the line out"


@pytest.mark.parametrize("command", ["condense", "compare", "study"])
def test_one_file_is_given_once(command: str) -> None:
    for given in (["--config", "a.yaml", "--config", "b.yaml"], ["--config=a.yaml", "--config=a.yaml"]):
        assert refused(command, "digits", *given) == "--config is given twice: give one file"


def test_settings_to_vary_are_given_at_once() -> None:
    said = refused("study", "digits", "--vary", "lr=0.1", "--vary", "factor=2")
    assert said == "--vary is given twice: give all settings behind one"


def test_a_command_without_a_file_of_settings_does_not_read_one(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("ipc: 1\n")
    assert refused("info", "--config", "run.yaml").startswith("unrecognized arguments: --config")


def test_a_setting_is_given_once(tmp_path: Path) -> None:
    for name, text in (
        ("run.yaml", "ipc: 1\nlr: 0.1\nipc: 2\n"),
        ("run.yaml", "ipc: 1\n'ipc': 1\n"),
        ("run.json", '{"ipc": 1, "lr": 0.1, "ipc": 1}'),
    ):
        (tmp_path / name).write_text(text)
        assert refused("condense", "--config", name) == f"{name}: --ipc: given twice"
    for name, text in (("run.yml", "batch-real: 1\nbatch_real: 2"), ("run.json", '{"batch_real": 1, "batch-real": 1}')):
        (tmp_path / name).write_text(text)
        assert refused("condense", "--config", name) == f"{name}: --batch-real: given twice"


def test_several_values_go_where_several_are_taken(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("sets: one\nnetworks: [convnet1, convnet2]\n")
    given = settings("evaluate", "--config", "run.yaml")
    assert (given["sets"], given["networks"]) == (["one"], ["convnet1", "convnet2"])
    (tmp_path / "run.yaml").write_text("data: [a.parquet, b.parquet]\n")
    assert settings("condense", "--config", "run.yaml")["data"] == ["a.parquet", "b.parquet"]
    for text in ("kernel: [linear]", "kernel: {linear: 1}", "data: [[a]]", "data: &a [*a]"):
        (tmp_path / "run.yaml").write_text(text)
        assert "expected one value" in refused("condense", "--config", "run.yaml")
    (tmp_path / "run.yaml").write_text("networks: []")
    assert "at least one value" in refused("evaluate", "--config", "run.yaml")


def test_values_are_taken_as_they_are_written(tmp_path: Path) -> None:
    lines = ("out: 0123", "data: 2024-01-01", "classes: [no, 010, yes]", "lr: 1e-1", "ipc: 010", "flip: false")
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    given = settings("condense", "--config", "run.yaml")
    assert (given["out"], given["data"], given["classes"]) == ("0123", "2024-01-01", ["no", "010", "yes"])
    assert (given["lr"], given["ipc"], given["flip"]) == (0.1, 10, False)


def test_values_that_no_setting_can_have_are_one_line(tmp_path: Path) -> None:
    for name, text, words in (
        ("deep.yaml", "ipc: " + "[" * 2_000 + "]" * 2_000, "nested too deeply"),
        ("deep.json", '{"ipc": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ("large.yaml", f"ipc: {10**400}", "at most 2147483647"),
        ("large-float.yaml", f"lr: {10**400}", "a number is too large"),
        ("larger.yaml", "ipc: 1" + "0" * 5000, "Exceeds the limit"),
        ("date.yaml", "ipc: 2024-01-01", "--ipc 2024-01-01: expected a whole number"),
        ("tag.yaml", "ipc: !!bool foo", "cannot be read"),
        ("code.yaml", "ipc: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("long.yaml", "#" * 2**21, "larger than 1048576 bytes"),
        ("name.yaml", "config: other.yaml", "unknown setting 'config'"),
    ):
        (tmp_path / name).write_text(text)
        message = refused("condense", "digits", "--config", name)
        assert words in message
        assert len(message) < 600


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert "no regular file" in refused("condense", "--config", "pipe")
    assert "no regular file" in refused("condense", "--config", os.devnull)
    assert "a folder, but no condensed set" in refused("condense", "--config", "folder")
    assert refused("condense", "--config", "").startswith("--config: an empty value")
    assert "no such file" in refused("condense", "--config", "nowhere.yaml")
    assert "cannot be read" in refused("condense", "--config", "a" * 300)


# Condensed sets


def test_a_condensed_set_gives_its_recipe_and_its_source() -> None:
    stored(precision="bfloat16", device="cuda:7", time_limit=60.0)
    for path in ("one", "one/condensed.json"):
        given = settings("condense", "--config", path)
        assert {name: given[name] for name in RECIPE} == RECIPE
        assert (given["data"], given["size"], given["split_seed"]) == ("digits", 16, 3)
        assert (given["device"], given["precision"], given["time_limit"]) == ("auto", "auto", None)
    assert settings("condense", "--config", "one", "--seed", "8")["seed"] == 8


def test_a_grown_set_gives_the_one_it_grew_from() -> None:
    stored(start_from={"fingerprint": "sha256:0", "images": 3, "kept": False, "set": "/sets/old"})
    given = settings("condense", "--config", "one")
    assert (given["start_from"], given["keep_old"]) == ("/sets/old", False)
    for unknown in (None, "old", {"fingerprint": "sha256:0", "images": 3, "kept": True, "set": None}):
        stored("two", start_from=unknown)
        given = settings("condense", "--config", "two")
        assert (given["start_from"], given["keep_old"]) == (None, None)


def test_a_condensed_set_does_not_say_where_to_write(tmp_path: Path) -> None:
    stored(out="elsewhere", overwrite=True, config="other.yaml", quiet=True, unheard_of=1)
    given = settings("condense", "--config", "one")
    assert (given["out"], given["overwrite"], given["quiet"]) == (None, False, False)


def test_a_condensed_set_imports_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    stored(network="mine:net")
    assert main(["condense", "--config", "one", "--out", "two"]) == 2
    said = "m3d: --config one: its network is code, which no set may import; give --network mine:net yourself\n"
    assert capsys.readouterr().err == said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "one"]
    assert settings("condense", "--config", "one", "--network", "mine:net")["network"] == "mine:net"
    (tmp_path / "run.yaml").write_text("network: mine:net\n")
    assert settings("condense", "--config", "run.yaml")["network"] == "mine:net"
    stored("three", network="timm:resnet18")
    assert settings("condense", "--config", "three")["network"] == "timm:resnet18"


def test_only_condense_repeats_a_condensed_set() -> None:
    stored()
    for command in ("evaluate", "compare"):
        assert "only m3d condense takes its settings from a condensed set" in refused(command, "--config", "one")


def test_a_damaged_set_is_one_line(tmp_path: Path) -> None:
    stored()
    (tmp_path / "one" / "condensed.json").write_text("[" * 100_000)
    assert "cannot be read" in refused("condense", "--config", "one")
    stored("two", ipc="ten")
    assert refused("condense", "--config", "two") == "two: --ipc ten: expected a whole number"


def test_every_setting_of_a_recipe_is_a_flag() -> None:
    assert set(Recipe.__dataclass_fields__) <= settings("condense").keys()
    json.dumps(settings("condense"))


def test_flags_that_take_true_or_false_are_worded_with_it() -> None:
    actions = [action for command in COMMANDS.values() for action in command.declare()._actions]
    assert {action.dest for action in actions if getattr(action, "_typehint", None) is bool} == TRUE_OR_FALSE
    assert flag(Setting("flip", True)) == "--flip true"
    assert flag(Setting("overwrite", True)) == "--overwrite"
