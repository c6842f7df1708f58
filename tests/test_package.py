from __future__ import annotations

import subprocess
import sys

import pytest

import m3d_condense


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_is_cheap() -> None:
    assert python("import sys, m3d_condense; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "imports",
    [
        "from m3d_condense import condense, evaluate",
        "from m3d_condense import evaluate, condense",
        "from m3d_condense.scoring import source_of; from m3d_condense import condense, evaluate",
    ],
)
def test_the_words_of_the_package_are_functions_in_any_order(imports: str) -> None:
    assert python(f"{imports}; print(type(condense).__name__, type(evaluate).__name__)") == "function function"


def test_every_name_is_there_and_no_other() -> None:
    assert set(m3d_condense.__all__) == set(m3d_condense._HOMES)
    for name in ("CondensedSet", "Execution", "ImageDataset", "Score", "UserError", "load", "random_selections"):
        assert callable(getattr(m3d_condense, name))
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        m3d_condense.distil  # noqa: B018
