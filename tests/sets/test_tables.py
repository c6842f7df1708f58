from __future__ import annotations

import io
import json
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from condensed_sets import make
from PIL import Image
from pyarrow import parquet
from torch import Tensor

from m3d_condense.sets import tables
from m3d_condense.sets.condensed import CondensedSet

FILES = {"default": "data/train-00000-of-00001.parquet", "stored": "stored/train-00000-of-00001.parquet"}


def rows(table: datasets.Dataset) -> tuple[Tensor, Tensor]:
    """The images of a table, N×C×H×W uint8, and its labels."""
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in table["image"]]))
    images = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return images, torch.tensor(table["label"])


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(("factor", "channels"), [(1, 1), (2, 3), (3, 1)])
def test_datasets_opens_the_folder_as_decoded_and_as_stored(tmp_path: Path, factor: int, channels: int) -> None:
    names = ("an apple", "Größe 汉字", "line\nbreak")
    condensed = make(shape=(channels, 8, 10), factor=factor, class_names=names)
    folder = str(condensed.save(tmp_path / "set"))
    assert datasets.get_dataset_config_names(folder) == ["default", "stored"]

    decoded = datasets.load_dataset(folder)["train"]
    assert decoded.features == {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    images, labels = rows(decoded)
    exact, exact_labels = condensed.decode()
    assert torch.equal(images, (exact * 255).round().byte())
    assert torch.equal(labels, exact_labels)

    stored = datasets.load_dataset(folder, "stored")["train"]
    assert stored.features == decoded.features
    images, labels = rows(stored)
    assert torch.equal(images, condensed.images)
    assert torch.equal(labels, condensed.labels)


def test_pieces_are_decoded_as_the_whole_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    condensed = make(num_classes=5, ipc=3, shape=(3, 9, 7))
    monkeypatch.setattr(tables, "BATCH_VALUES", 3 * 9 * 7 * 4 * 2)  # two stored images a piece
    table = parquet.read_table(condensed.save(tmp_path / "set") / FILES["default"])
    assert parquet.ParquetFile(tmp_path / "set" / FILES["default"]).num_row_groups == 8
    read = [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in table["image"].to_pylist()]
    exact, labels = condensed.decode()
    assert np.array_equal(np.stack(read), (exact * 255).round().byte().permute(0, 2, 3, 1).numpy())
    assert table["label"].to_pylist() == labels.tolist()


def test_the_schema_holds_what_datasets_writes_there(tmp_path: Path) -> None:
    condensed = make()
    schema = parquet.read_schema(condensed.save(tmp_path / "set") / FILES["default"])
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=list(condensed.class_names)))
    theirs = features.arrow_schema
    assert schema.equals(theirs)
    found, expected = (json.loads(one.metadata[b"huggingface"])["info"]["features"] for one in (schema, theirs))
    assert found == expected


def test_names_given_twice_are_told_apart(tmp_path: Path) -> None:
    names = ("a", "b", "a", "a", "a (2)")
    folder = make(num_classes=5, class_names=names).save(tmp_path / "set")
    features = datasets.Features.from_arrow_schema(parquet.read_schema(folder / FILES["default"]))
    assert features["label"].names == ["a", "b", "a (2)", "a (3)", "a (2) (2)"]
    assert CondensedSet.load(folder).class_names == names


def test_the_card_names_the_tables(tmp_path: Path) -> None:
    folder = make().save(tmp_path / "set")
    header = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    configs = {config["config_name"]: config["data_files"] for config in header["configs"]}
    assert configs == {name: [{"split": "train", "path": file}] for name, file in FILES.items()}
    assert all((folder / file).is_file() for file in FILES.values())


def test_the_set_loads_without_the_tables(tmp_path: Path) -> None:
    condensed = make()
    folder = condensed.save(tmp_path / "set")
    for file in FILES.values():
        (folder / file).write_bytes(b"damaged")
    assert torch.equal(CondensedSet.load(folder).images, condensed.images)


def test_a_small_set_is_saved_in_well_below_a_second(tmp_path: Path) -> None:
    condensed = make(num_classes=10, ipc=10, shape=(3, 32, 32))
    make().save(tmp_path / "first")  # imports what saving needs
    begun = time.process_time()
    condensed.save(tmp_path / "set")
    assert time.process_time() - begun < 1


def test_a_table_with_a_damaged_picture_is_not_that_of_the_set(tmp_path: Path) -> None:
    condensed, file = make(), tmp_path / "table.parquet"
    tables.write_table(condensed, file, stored=True)
    assert tables.is_table_of(condensed, file, stored=True)
    whole = parquet.read_table(file)
    pictures = whole.column("image").to_pylist()
    for damaged in (pictures[0]["bytes"][:60], pictures[0]["bytes"].replace(b"IDAT", b"IDAX"), None):
        changed = [{"bytes": damaged, "path": None}, *pictures[1:]]
        parquet.write_table(whole.set_column(0, "image", pa.array(changed, tables.PIXELS)), file)
        assert not tables.is_table_of(condensed, file, stored=True)
