"""What a caller may give for a setting."""

import importlib
import inspect
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import noise

import m3d_condense
from m3d_condense.condensing.condensation import condense
from m3d_condense.labelling import label
from m3d_condense.recipes.given import checked_time_limit, converted, several
from m3d_condense.recipes.methods import recipe
from m3d_condense.recipes.problem import Problem
from m3d_condense.recipes.recipe import check_count
from m3d_condense.scoring import evaluate
from m3d_condense.sets.condensed import CondensedSet
from m3d_condense.sets.exporting import export
from m3d_condense.sets.hub import push
from m3d_condense.sets.importing import import_set
from m3d_condense.studies.comparison import compare
from m3d_condense.tools.errors import UserError


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("ipc", np.int64(2), 2),
        ("seed", torch.tensor(3), 3),
        ("lr", np.float32(0.5), 0.5),
        ("lr", 1, 1.0),
        ("flip", np.bool_(True), True),
        ("kernel", "linear", "linear"),
    ],
)
def test_numbers_of_numpy_and_torch_become_pythons(name, value, wanted):
    found = converted(name, value)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ipc", "2"),
        ("ipc", 2.0),
        ("ipc", True),
        ("ipc", np.array([1, 2])),
        ("lr", "0.1"),
        ("lr", False),
        ("flip", "yes"),
        ("flip", 1),
        ("kernel", 3),
    ],
)
def test_values_of_another_type_are_refused(name, value):
    with pytest.raises(UserError, match=name):
        converted(name, value)


def test_a_recipe_of_numpy_numbers_is_that_of_pythons():
    given = {"iterations": np.int64(3), "lr": np.float64(0.5), "seed": np.int32(1)}
    plain = {"iterations": 3, "lr": 0.5, "seed": 1}
    made = recipe("m3d", "quick", Problem(ipc=np.int64(2), side=32), given)
    assert made == recipe("m3d", "quick", Problem(ipc=2, side=32), plain)
    assert {type(getattr(made, name)) for name in ("ipc", "iterations", "seed")} == {int}


@pytest.mark.parametrize("value", ["10m", -1, float("nan"), float("inf"), True])
def test_a_time_limit_that_is_none_is_refused(value):
    with pytest.raises(UserError, match="time_limit"):
        checked_time_limit(value)


def test_a_time_limit_is_a_number_of_seconds():
    assert checked_time_limit(None) is None
    assert checked_time_limit(np.float32(1.5)) == 1.5


@pytest.mark.parametrize("value", ["3", 3.0, True, None])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(UserError, match="a whole number"):
        check_count("repeats", value, least=1)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"execution": "cpu"}, "an Execution, such as"), ({"time_limit": "10m"}, "a number of seconds")]
)
def test_what_is_no_setting_of_the_machine_is_refused_in_one_line(wrong, said):
    with pytest.raises(UserError, match=said):
        condense("digits", ipc=1, iterations=1, **wrong)


def test_a_score_of_numpy_numbers_can_be_stored(tmp_path):
    made = condense("digits", ipc=np.int64(1), method="random", seed=np.int64(1), out=tmp_path / "set")
    score = evaluate(made, "digits", repeats=np.int64(1), epochs=np.int64(1), seed=np.int64(2), readings=np.int64(2))
    made.add_score(score, tmp_path / "set")
    assert score.settings["seed"] == 2


def test_a_network_that_is_no_name_is_refused(tmp_path):
    made = condense("digits", ipc=1, method="random")
    with pytest.raises(UserError, match="network=.*a name"):
        evaluate(made, "digits", network=["convnet"], repeats=1)


def parameters(kind):
    """Every parameter of the public functions, and of the public methods, that takes such a value."""
    for name in m3d_condense.__all__:
        one = getattr(m3d_condense, name)
        methods = [getattr(one, own) for own in vars(one) if own[0] != "_"] if inspect.isclass(one) else [one]
        for function in filter(inspect.isroutine, filter(callable, methods)):
            for own, parameter in inspect.signature(function).parameters.items():
                if kind(own, str(parameter.annotation).removesuffix(" | None")):
                    yield pytest.param(function, own, id=f"{function.__qualname__}-{own}")
    for function, own in ((export, "stored"), (export, "overwrite"), (import_set, "hard_labels"), (push, "private")):
        if kind(own, "bool"):
            yield pytest.param(function, own, id=f"{function.__qualname__}-{own}")


def looked_at(kind):
    """Those of the functions that look at all that they are given, but for seeds, which have a test of their own."""
    return [one for one in parameters(lambda own, given: given == kind and own != "seed") if is_checked(one.values[0])]


def is_checked(function):
    return hasattr(function, "__wrapped__")


def called_with(function, own, value):
    """Call a function with one argument that is looked at, and others that are not."""
    fine = {"int": 1, "bool": True}
    needed = {
        name: fine.get(one.annotation, "digits")
        for name, one in inspect.signature(function).parameters.items()
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    }
    return function(**needed | {own: value})


@pytest.mark.parametrize(("function", "own"), [*parameters(lambda _, kind: kind == "bool")])
@pytest.mark.parametrize("value", ["false", "no", 1, 0.0, []])
def test_what_is_true_or_false_is_given_as_such(function, own, value):
    with pytest.raises(UserError, match=f"^{own}=.*true or false$"):
        called_with(function, own, value)


@pytest.mark.parametrize(("function", "own"), looked_at("str"))
@pytest.mark.parametrize("value", [3, b"quick", ["quick"], {}, np.zeros(2), torch.zeros(2), lambda: "quick"])
def test_a_name_is_text(function, own, value):
    with pytest.raises(UserError, match=f"(?s)^{own}=.*: a name$"):
        called_with(function, own, value)


@pytest.mark.parametrize(("function", "own"), looked_at("int"))
@pytest.mark.parametrize("value", ["3", 1.5, True, [3], {}, np.zeros(2), torch.zeros(2), lambda: 3])
def test_a_number_of_things_is_a_whole_number(function, own, value):
    with pytest.raises(UserError, match=f"(?s)^{own}=.*: a whole number$"):
        called_with(function, own, value)


@pytest.mark.parametrize(("function", "own"), [*parameters(lambda own, _: own == "seed")])
@pytest.mark.parametrize("value", [None, "1", 1.5, True, 2**70])
def test_a_seed_is_a_whole_number_of_64_bits(function, own, value):
    with pytest.raises(UserError, match=r"^seed(=.*)?: a whole number"):
        called_with(function, own, value)


@pytest.mark.parametrize(("function", "own"), [*parameters(lambda _, kind: kind == "str | Path")])
@pytest.mark.parametrize("value", [3, b"set", ["set"]])
def test_a_path_is_text_or_a_path(function, own, value):
    with pytest.raises(UserError, match=f"^{own}=.*a path, as text or a Path$"):
        called_with(function, own, value)


@pytest.mark.parametrize(("function", "own"), [*parameters(lambda name, kind: name == "out" and "Path" in kind)])
@pytest.mark.parametrize("value", ["", ".", "..", Path(), "a/.."])
def test_an_output_has_a_name(function, own, value):
    with pytest.raises(UserError, match="^out=.*: name a file or folder of its own$"):
        called_with(function, own, value)


@pytest.mark.parametrize(("function", "own"), [*parameters(lambda _, kind: kind.startswith("Architecture"))])
@pytest.mark.parametrize("value", [3, b"convnet", torch.nn.Linear(1, 1)])
def test_a_network_is_a_name_a_class_or_a_function(function, own, value):
    with pytest.raises(UserError, match=f"^{own}=.*a name, or a class or function of a module$"):
        called_with(function, own, value)


def has_an_order(own, kind):
    return own != "accuracies" and (own == "data" or kind == "Classes" or "Sequence[" in kind)


@pytest.mark.parametrize(("function", "own"), [*parameters(has_an_order)])
@pytest.mark.parametrize("value", [{"ant", "bee"}, frozenset({"ant"})])
def test_what_has_an_order_is_not_given_as_a_set(function, own, value):
    value = {"lr": value} if own == "vary" else value
    with pytest.raises(UserError, match="a (frozen)?set has no order; give a list$"):
        called_with(function, own, value)


@pytest.mark.parametrize("value", [None, 3, b"set"])
def test_a_set_is_loaded_from_a_path(value):
    with pytest.raises(UserError, match="a path"):
        CondensedSet.load(value)
    with pytest.raises(UserError, match="a path"):
        label(value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("convnet", ["convnet"]),
        (Path("a"), [Path("a")]),
        (3, [3]),
        (np.int64(3), [3]),
        (torch.tensor(3), [3]),
        (["a", "b"], ["a", "b"]),
        (("a", Path("b")), ["a", Path("b")]),
        ((number for number in (1, 2)), [1, 2]),
        (b"a", [b"a"]),
        ({"a": 1}, [{"a": 1}]),
        ((), []),
    ],
)
def test_one_or_several(given, expected):
    assert several(given) == expected


def test_native_blocks_are_asked_for_or_not():
    with pytest.raises(UserError, match="native=no: true or false"):
        m3d_condense.Execution(native="no")


FLAGS_OF_OTHERS = {
    "the newer names of tf32": "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "flags that are frozen": "torch.backends.disable_global_flags()",
}


@pytest.mark.parametrize("how", FLAGS_OF_OTHERS)
def test_a_caller_may_have_set_cudnn_as_torch_allows(how):
    condenses = "m3d_condense.condense(m3d_condense.load('digits'), ipc=1, method='random')"
    code = f"import m3d_condense, torch; {FLAGS_OF_OTHERS[how]}; {condenses}"
    assert subprocess.call([sys.executable, "-c", code]) == 0


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def made_and_scored():
    """Results of the public functions, and of what they return."""
    images, labels = noise(24, 8, 8, 3), np.arange(24) % 3
    data = m3d_condense.load((images, labels))
    constants = data.mean, data.std
    made = condense(data, ipc=2, iterations=2, batch_real=4, network="convnet1")
    score = evaluate(made, data, network="convnet1", repeats=1, epochs=2)
    trained = m3d_condense.train(made, data, network="convnet1", epochs=2)
    asked = {"methods": "dm", "ipc": 1, "iterations": 2, "batch_real": 4, "networks": "convnet1", "whole": False}
    compared = compare(data, seeds=1, repeats=1, epochs=1, **asked)
    distances = m3d_condense.moment_distances(made, data)
    predicted = trained.predict(data.test.images)
    batch = [part for pair in made.loader(4).dataset.__getitems__(range(4)) for part in pair]
    tensors = [made.images, *made.decode(), made.normalise(made.images), predicted, *batch]
    return constants, score.accuracies, trained.accuracy, [row.mean for row in compared.rows], distances, tensors


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize(
    "changed",
    [default_dtype, default_device, lambda: torch.device("meta"), autocast, torch.no_grad, torch.inference_mode],
)
def test_results_do_not_depend_on_the_modes_of_torch(changed):
    *wanted, tensors = made_and_scored()
    with changed():
        before = torch.get_default_dtype(), torch.get_default_device()
        *found, others = made_and_scored()
        assert (torch.get_default_dtype(), torch.get_default_device()) == before
    assert found == wanted
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(tensors, others, strict=True))


MODULE = """
from torch import nn

class Small(nn.Sequential):
    def __init__(self, channels, num_classes, size):
        super().__init__(nn.Flatten(), nn.Linear(channels * size[0] * size[1], num_classes))

class Outer:
    Inner = Small

def made(**shape):
    return Small(**shape)

def hidden():
    class Local(Small):
        pass
    return Local
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_a_user", raising=False)
    return importlib.import_module("of_a_user")


def test_a_network_may_be_given_as_a_class_or_a_function(digits, module):
    settings = {"ipc": 1, "iterations": 1, "batch_real": 2, "factor": 1}
    made = condense(digits, method="m3d", network=module.Small, **settings)
    assert made.settings["network"] == "of_a_user:Small"
    score = evaluate(made, digits, network=module.made, repeats=1, epochs=1)
    assert score.network == "of_a_user:made"
    several = compare(
        digits, methods=["random"], ipc=1, networks=[module.Small, "convnet1"], repeats=1, epochs=1, whole=False
    )
    assert {row.network for row in several.rows} == {"of_a_user:Small", "convnet1"}


@pytest.mark.parametrize("of", [lambda module: module.hidden(), lambda module: lambda **shape: module.Small(**shape)])
def test_a_network_that_no_name_leads_to_is_refused(digits, module, of):
    for refused in (lambda: condense(digits, network=of(module)), lambda: evaluate(digits, network=of(module))):
        with pytest.raises(UserError, match=r"^network=.*: cannot be imported by its name"):
            refused()
