from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3d_condense.data.labels import are_mirrored, as_name, encode, labelled_rows, natural_key
from m3d_condense.tools.errors import UserError

NAN = float("nan")


def numbered(*splits: Any, names: Any = ()) -> tuple[list[list[int]], tuple[str, ...]]:
    labels, classes = encode(splits, names)
    return [values.tolist() for values in labels], classes


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        ([10, 2, 1], [1, 2, 10]),
        (["class 10", "class 2", "class"], ["class", "class 2", "class 10"]),
        (["v1.10", "v1.9", "v0.11"], ["v0.11", "v1.9", "v1.10"]),
        (["n02", "n1", "n002"], ["n1", "n002", "n02"]),
        (["b", "a", "9"], ["9", "a", "b"]),
        ([3, -5, 0], [-5, 0, 3]),
        (["²", "٣", "1"], ["1", "²", "٣"]),
    ],
)
def test_order_is_natural(values: list[Any], order: list[Any]) -> None:
    assert sorted(values, key=natural_key) == order


@given(st.lists(st.text() | st.integers(), unique_by=str))
def test_every_set_of_labels_has_one_order(values: list[Any]) -> None:
    ordered = sorted(values, key=natural_key)
    assert sorted(reversed(values), key=natural_key) == ordered
    assert len({natural_key(value) for value in values}) == len(values)


@given(st.lists(st.integers(min_value=0, max_value=10**15), unique=True))
def test_numbers_stand_in_the_same_order_as_text_and_as_integers(values: list[int]) -> None:
    assert [int(text) for text in sorted(map(str, values), key=natural_key)] == sorted(values)


@pytest.mark.parametrize(
    ("labels", "expected", "classes"),
    [
        ([10, 2, 1, 2], [2, 1, 0, 1], ("1", "2", "10")),
        (np.array([10, 2, 1, 2], dtype=object), [2, 1, 0, 1], ("1", "2", "10")),
        ([b"dog", b"cat", b"dog"], [1, 0, 1], ("cat", "dog")),
        (np.array([b"dog", b"cat"]), [1, 0], ("cat", "dog")),
        ([2.0, 1.0], [1, 0], ("1", "2")),
        (list(np.array([2, 1], dtype=np.uint8)), [1, 0], ("1", "2")),
        ([True, False], [1, 0], ("False", "True")),
        (["cafe\u0301", "tea", "caf\u00e9"], [0, 1, 0], ("caf\u00e9", "tea")),
        ([1, "b", 1], [0, 1, 0], ("1", "b")),
    ],
)
def test_labels_of_every_type_are_numbered_in_order(labels: Any, expected: list[int], classes: tuple[str, ...]) -> None:
    assert numbered(labels) == ([expected], classes)


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        ([0, 1, -1, 2], [2]),
        ([0.0, 1.0, NAN, 2.0], [2]),
        (["a", None, "b", "nan"], [1, 3]),
        (["a", "", "b", " NaN "], [1, 3]),
        ([b"a", b"", b"b"], [1]),
        (["0", "1", "-1", "2"], [2]),
        ([None, 0, 1, NAN, -1.0], [0, 3, 4]),
    ],
)
def test_training_rows_without_a_label_are_left_out_and_counted(
    labels: Any, missing: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    encoded, classes = encode([labels], ())
    (kept,) = labelled_rows(encoded)
    assert kept.tolist() == [row for row in range(len(labels)) if row not in missing]
    assert len(classes) == len({labels[row] for row in kept})
    count = "1 row" if len(missing) == 1 else f"{len(missing)} rows"
    told = f"{count} of the train split without a label left out, the first is row {missing[0]}\n"
    assert told in capsys.readouterr().err


def test_minus_one_beside_other_negative_labels_is_a_class() -> None:
    assert numbered([-2, -1, 0, 1]) == ([[0, 1, 2, 3]], ("-2", "-1", "0", "1"))
    assert numbered(["left-1", "-1"])[1] == ("-1", "left-1")


def test_minus_one_and_one_alone_are_refused_with_both_readings() -> None:
    with pytest.raises(UserError, match="two classes, or one class and rows without a label"):
        encode([[1, -1, 1]], ())


def test_training_rows_all_without_a_label_are_refused() -> None:
    for labels in ([-1, -1], [None, NAN], ["", "nan"]):
        with pytest.raises(UserError, match="none of the 2 rows of the train split has a label"):
            labelled_rows(encode([labels], ())[0])


def test_a_test_split_without_labels_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    encoded, _ = encode([[0, 1], [-1, -1, -1]], ())
    assert [rows.tolist() for rows in labelled_rows(encoded)] == [[0, 1]]
    assert "None of the 3 rows of the test split has a label: the split is not used" in capsys.readouterr().err


def test_test_rows_without_a_label_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    encoded, _ = encode([[0, 1], [1, -1, 0]], ())
    assert [rows.tolist() for rows in labelled_rows(encoded)] == [[0, 1], [0, 2]]
    assert "1 row of the test split without a label left out, the first is row 1" in capsys.readouterr().err


def test_labels_may_be_ids_names_or_truth_values_where_there_are_names() -> None:
    assert numbered([1, 0, -1], names=["dog", "cat"]) == ([[1, 0, -1]], ("dog", "cat"))
    assert numbered(["cat", "dog"], names=["dog", "cat"]) == ([[1, 0]], ("dog", "cat"))
    assert numbered([True, False], names=["no", "yes"]) == ([[1, 0]], ("no", "yes"))
    with pytest.raises(UserError, match=r"none of the 2 class names: 2 \(1 rows, the first is row 1\)"):
        encode([[0, 2]], ["dog", "cat"])


def test_ids_from_one_to_the_number_of_names_count_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert numbered([1, 3, None], [2], names=["a", "b", "c"]) == ([[0, 2, -1], [1]], ("a", "b", "c"))
    assert "The labels count from 1 to 3: 1 is the first class name, a" in capsys.readouterr().err
    assert numbered([1, 2], names=["a", "b", "c"])[0] == [[1, 2]]
    with pytest.raises(UserError, match="none of the 3 class names: 3 "):
        numbered([0, 3], names=["a", "b", "c"])


def test_a_test_label_that_training_lacks_is_named_with_its_row() -> None:
    with pytest.raises(UserError, match=r"test split has labels.*: wasp \(2 rows, the first is row 1\)"):
        encode([["ant", "bee"], ["ant", "wasp", "wasp"]], ())


@pytest.mark.parametrize(
    ("several", "said"),
    [
        ("cat|dog", "cat and dog"),
        ("dog; cat", "dog and cat"),
        ("cat,dog,owl", "cat and dog and owl"),
        ("1|2", "1 and 2"),
        ("cat dog", "cat and dog"),
        ("['cat', 'bee']", "cat and bee"),
    ],
)
def test_a_label_of_several_classes_is_refused(several: str, said: str) -> None:
    with pytest.raises(UserError, match="^the label .* is several, " + said):
        encode([["cat", "dog", "owl", several, "1", "2"]], [])


@pytest.mark.parametrize(
    "labels",
    [
        ["16 0", "7 1 2 0", "5", "5"],
        ["clear primary", "haze primary", "clear", "haze water", "clear water", "clear haze", "water haze primary"],
        ["['cat', 'dog']", "['owl', 'dog']"],
    ],
)
def test_labels_that_are_lists_of_numbers_or_tags_are_refused(labels: list[str]) -> None:
    with pytest.raises(UserError, match="is several"):
        encode([labels], [])


@pytest.mark.parametrize(
    "labels",
    [
        ["hot dog", "dog", "polar bear", "brown bear", "bear"],
        ["red apple", "green apple", "red pepper", "green pepper"],
        ["type 1", "type 2", "type 10", "none"],
        ["2020-01", "2020-02", "1.5 mm"],
    ],
)
def test_names_of_several_words_are_single_labels(labels: list[str]) -> None:
    assert set(numbered(labels)[1]) == set(labels)


def test_a_mark_in_a_label_whose_parts_are_no_classes_is_a_part_of_its_name() -> None:
    assert numbered(["black, white", "black", "owl|"])[1] == ("black", "black, white", "owl|")


@pytest.mark.parametrize("labels", [[0.5, 1.0], [0.0, float("inf")]])
def test_labels_between_whole_numbers_are_refused(labels: list[float]) -> None:
    with pytest.raises(UserError, match=r"the label .* of the train split is no class"):
        encode([labels], ())


def test_labels_that_are_lists_are_refused_with_their_row() -> None:
    with pytest.raises(UserError, match="the label of row 1 of the train split is a list"):
        encode([[0, [1]]], ())


@pytest.mark.parametrize(
    ("labels", "odd"),
    [([0, 1, 255], 255), (list(range(19)) + [255], 255), ([0, 1, 2, -100], -100), ([0, 1, 2, 99], 99)],
)
def test_a_label_far_from_the_others_is_pointed_out(
    labels: list[int], odd: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert numbered(labels)[1] == tuple(map(str, sorted(labels)))
    assert f"The label {odd} stands far from the others" in capsys.readouterr().err


@pytest.mark.parametrize("labels", [[0, 255], [7, 30, 100], [0, 1, 2, 3], [1, 10, 100, 1000]])
def test_labels_spread_out_are_not_pointed_out(labels: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    encode([labels], ())
    assert capsys.readouterr().err == ""


def test_words_for_no_label_are_classes_with_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    assert numbered(["None", "scratch"])[1] == ("None", "scratch")
    assert "None is taken for a class" in capsys.readouterr().err


def test_classes_that_differ_by_capitals_only_are_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert numbered(["cat", "Cat", "dog"])[1] == ("Cat", "cat", "dog")
    assert "kept apart: 'Cat', 'cat'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([*"0123456789"], "digits"),
        (["3", "7"], "digits"),
        (["one", "two"], "digits"),
        (["0 - zero", "1 - one", "2 - two"], "digits"),
        ([*"ABC"], "letters"),
        (["α", "β"], "letters"),
        (["0", "1"], None),
        (["cat", "dog"], None),
        (["1", "2", "10"], None),
        ([], None),
    ],
)
def test_classes_that_look_like_characters_are_pointed_out(
    names: list[str], kind: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert are_mirrored(names, "data")
    told = capsys.readouterr().err
    if kind is None:
        assert told == ""
    else:
        assert f"look like {kind}, whose mirror images mean something else: give flip=False" in told


@pytest.mark.parametrize(
    "called", ["mnist", "MNIST", "my-mnist_28", "digits.v2", "svhn", "emnist-letters", "owner/kmnist", "optdigits"]
)
def test_characters_that_are_called_so_too_are_not_mirrored(called: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not are_mirrored([*"01"], called)
    assert not are_mirrored([*"0123456789"], called)
    assert f"{called} is called like a data set of characters, and its classes 0 to 9" in capsys.readouterr().err
    assert are_mirrored(["ant", "bee"], called)
    assert are_mirrored([*map(str, range(1, 21))], called)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("called", ["data", "fashion-mnist", "fashionmnist", "medmnist", "cifar10", "cats"])
def test_numbers_of_other_data_are_not_taken_for_characters(called: str) -> None:
    assert are_mirrored([*"0123456789"], called)


def test_names_are_composed() -> None:
    assert as_name("e\u0301") == "\u00e9"


def test_what_is_no_text_in_a_name_becomes_escapes() -> None:
    assert as_name("caf\udce9 \ud800") == r"caf\xe9 \ud800"
