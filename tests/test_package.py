from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

import m3d_condense

ORDERS = (
    "from m3d_condense import condense, evaluate",
    "from m3d_condense import evaluate, condense",
    "from m3d_condense.sets.source import source_of; from m3d_condense import condense, evaluate",
)

# One process for all, as torch takes seconds to start.
PROGRAM = """
import json, sys
import m3d_condense
found = {"with the package": sorted({"torch"} & set(sys.modules))}
import m3d_condense.data.load
found["with loading"] = sorted({"datasets", "sklearn"} & set(sys.modules))
for imports in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.split(".")[0] == "m3d_condense"]:
        del sys.modules[name]
    words = {}
    exec(imports, words)
    found[imports] = [type(words[word]).__name__ for word in ("condense", "evaluate")]
found["with condensing"] = sorted({"torch._dynamo", "torch._inductor"} & set(sys.modules))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, json.dumps(ORDERS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_importing_the_package_is_cheap(found: dict[str, Any]) -> None:
    assert found["with the package"] == []


def test_importing_what_loads_data_imports_no_reader(found: dict[str, Any]) -> None:
    assert found["with loading"] == []


def test_importing_what_condenses_does_not_wait_for_the_compiler(found: dict[str, Any]) -> None:
    assert found["with condensing"] == []


@pytest.mark.parametrize("imports", ORDERS)
def test_the_words_of_the_package_are_functions_in_any_order(found: dict[str, Any], imports: str) -> None:
    assert found[imports] == ["function", "function"]


def test_every_name_is_there_and_no_other() -> None:
    for name in m3d_condense.__all__:
        assert callable(getattr(m3d_condense, name))
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        m3d_condense.distil  # noqa: B018


def test_notices_and_progress_are_silenced_and_heard_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heard = []
    try:
        for quiet in (False, True, False):
            m3d_condense.set_quiet(quiet)
            m3d_condense.condense("digits", ipc=1, iterations=1, network="convnet1")
            heard.append(bool(capsys.readouterr().err))
    finally:
        m3d_condense.set_quiet(False)
    assert heard == [True, False, True]


def test_the_version_is_that_of_the_package_that_is_installed() -> None:
    assert m3d_condense.__version__ == metadata.version("m3d-condense")


def test_what_is_returned_is_shown_in_a_line() -> None:
    data = m3d_condense.load("digits")
    made = m3d_condense.condense(data, ipc=1, method="random")
    one = {"epochs": 1, "networks": "convnet1", "repeats": 1, "seeds": 1}
    table = m3d_condense.compare(data, methods="random", ipc=1, whole=False, **one)
    trained = m3d_condense.train(made, data, epochs=1, network="convnet1")
    named = f"TrainedNetwork(convnet1, trained on digits, condensed by random: {trained.accuracy:.1f} % on digits)"
    assert [repr(one) for one in (data, data.train, made, table, trained)] == [
        "ImageDataset(digits: 1,438 training and 359 test images of 1×8×8, 10 classes)",
        "Split(1,438 images of 1×8×8)",
        "CondensedSet(random of digits: 10 images of 1×8×8, 10 classes)",
        "Results(1 job, 1 done, 0 failed)",
        named,
    ]
    assert repr(m3d_condense.label(made, trained)).endswith("10 classes, soft labels)")
