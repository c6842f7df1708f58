"""Files with anything in them: loading gives a set that can be stored again, or one line of complaint."""

from __future__ import annotations

import copy
import json
import math
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from condensed_sets import make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3d_condense.sets.condensed import CondensedSet, Score
from m3d_condense.tools.errors import UserError

FOREIGN = {"import", "exec", "compile", "marshal.loads", "pickle.find_class", "os.system", "subprocess.Popen"}
watching = False
seen: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and (event in FOREIGN or event.startswith("socket.")):
        seen.append(event)


@contextmanager
def nothing_is_run() -> Iterator[None]:
    """Fail where anything is imported, executed, started or connected to while this lasts."""
    global watching
    seen.clear()
    watching = True
    try:
        yield
    finally:
        watching = False
    assert not seen


@dataclass(frozen=True)
class Saved:
    """A set on disk, and the files that are the set as they were written."""

    path: Path
    meta: bytes = field(repr=False)
    images: bytes = field(repr=False)

    def with_meta(self, data: bytes) -> None:
        """Load the set with other bytes in condensed.json, and see that nothing worse than a complaint comes of it."""
        self._check(data, self.images)

    def with_images(self, data: bytes) -> None:
        """Do the same with images.safetensors."""
        self._check(self.meta, data)

    def _check(self, meta: bytes, images: bytes) -> None:
        (self.path / "condensed.json").write_bytes(meta)
        (self.path / "images.safetensors").write_bytes(images)
        try:
            with nothing_is_run():
                condensed = CondensedSet.load(self.path)
        except UserError as error:
            complaint = str(error)
        else:
            condensed.add_score(Score.of("convnet3", "idc", [1.0], {}), self.path)
            CondensedSet.load(self.path)
            return
        assert str(self.path) in complaint
        assert "\n" not in complaint
        assert len(complaint) < 2000


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    sys.addaudithook(watch)  # which no one can take away again: it is silent but for `nothing_is_run`
    path = make().save(tmp_path_factory.mktemp("sets") / "set")
    CondensedSet.load(path)  # imports what loading needs
    meta, images = ((path / name).read_bytes() for name in ("condensed.json", "images.safetensors"))
    return Saved(path, meta, images)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, 2**64])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
dtypes = st.sampled_from(["BOOL", "U8", "I8", "F16", "BF16", "F4", "F8_E4M3", "F8_E8M0", "I64", "U64", "C64", "x"])
fuzzed = settings(deadline=None, max_examples=100, derandomize=True, suppress_health_check=list(HealthCheck))


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys and positions that lead to every part of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(deeper for key, item in items for deeper in places(item, (*place, key)))]


def changed(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The content with another value at a place."""
    if not place:
        return value
    content = copy.copy(content)
    content[place[0]] = changed(content[place[0]], place[1:], value)
    return content


@st.composite
def changes(draw: st.DrawFn, content: Any, strategy: st.SearchStrategy[Any]) -> Any:
    """The content with other values at one place or two."""
    for _ in range(draw(st.integers(1, 2))):
        content = changed(content, draw(st.sampled_from(places(content))), draw(strategy))
    return content


@st.composite
def splices(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with a piece cut out, and another in its place."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, len(data)))
    return data[:start] + draw(st.binary(max_size=12)) + data[end:]


@fuzzed
@given(data=st.data())
def test_any_value_anywhere_in_the_json(saved: Saved, data: st.DataObject) -> None:
    saved.with_meta(json.dumps(data.draw(changes(json.loads(saved.meta), values))).encode())


@fuzzed
@given(data=st.data())
def test_json_with_bytes_cut_out_and_put_in(saved: Saved, data: st.DataObject) -> None:
    saved.with_meta(data.draw(splices(saved.meta)))


@pytest.mark.parametrize("depth", [1, 50, 99, 100, 101, 300, 900, 1000, 3000, 10**5])
@pytest.mark.parametrize("name", ["settings", "source", "hardware", "scores", "history", "class_names"])
def test_json_nested_to_any_depth(saved: Saved, name: str, depth: int) -> None:
    content = json.loads(saved.meta)
    content[name] = "here"
    for left, right in (("[", "]"), ('{"a":', "}")):
        nested = f'{{"a": {left * depth}1{right * depth}}}'
        saved.with_meta(json.dumps(content).replace('"here"', nested).encode())


@fuzzed
@given(data=st.data())
def test_images_with_bytes_cut_out_and_put_in(saved: Saved, data: st.DataObject) -> None:
    saved.with_images(data.draw(splices(saved.images)))


@fuzzed
@given(data=st.data())
def test_images_with_any_header(saved: Saved, data: st.DataObject) -> None:
    length = struct.unpack("<Q", saved.images[:8])[0]
    header = data.draw(changes(json.loads(saved.images[8 : 8 + length]), values | dtypes))
    text = json.dumps(header).encode()
    saved.with_images(struct.pack("<Q", len(text)) + text + saved.images[8 + length :])


@fuzzed
@given(
    images=st.tuples(dtypes, st.lists(st.integers(0, 2), max_size=5)),
    labels=st.tuples(dtypes, st.lists(st.integers(0, 2), max_size=2)),
)
def test_images_of_any_type_and_shape(
    saved: Saved, images: tuple[str, list[int]], labels: tuple[str, list[int]]
) -> None:
    sizes = {"F4": 0.5, "F16": 2, "BF16": 2, "I64": 8, "U64": 8, "C64": 8}
    header: dict[str, Any] = {"__metadata__": {"format_version": "1"}}
    end = 0
    for name, (dtype, shape) in {"images": images, "labels": labels}.items():
        start, end = end, end + int(math.prod(shape) * sizes.get(dtype, 1))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    saved.with_images(struct.pack("<Q", len(text)) + text + bytes(end))
