from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import folder
from PIL import Image

from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.studies.paper.local import DataSets
from m3d_condense.tools.errors import UserError


def write(path: Path, side: int = 8) -> Path:
    images = np.random.default_rng(0).integers(0, 255, (20, side, side, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=images, y_train=np.arange(20) % 2, x_test=images[:4], y_test=np.arange(4) % 2)
    return path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cifar10", "cifar10.npz"),
        ("cifar10", "CIFAR-10.npz"),
        ("fashion-mnist", "fashion_mnist.npz"),
        ("fashion-mnist", "FashionMNIST.npz"),
        ("cifar100", "cifar-100.npz"),
        ("imagenette", "imagenette_mini.npz"),
    ],
)
def test_a_copy_is_found_by_its_name_and_takes_the_grids(tmp_path: Path, name: str, file: str) -> None:
    write(tmp_path / "cifar.npz")
    write(tmp_path / file)
    found = DataSets(tmp_path).of(name)
    assert found.name == name
    assert found.source["data"] == str(tmp_path / file)
    assert found.size == ((128, 128) if name == "imagenette" else (8, 8))


def test_one_data_set_is_not_taken_for_another(tmp_path: Path) -> None:
    write(tmp_path / "cifar100.npz")
    write(tmp_path / "imagenet-100.npz")
    for name in ("cifar10", "imagenet-10", "mnist"):
        with pytest.raises(UserError, match=f"{name} is not at hand: no copy of it in"):
            DataSets(tmp_path).of(name)


def test_digits_that_are_known_are_not_mirrored(tmp_path: Path) -> None:
    write(tmp_path / "svhn.npz")
    write(tmp_path / "cifar10.npz")
    data = DataSets(tmp_path)
    assert not data.of("svhn").mirrored
    assert data.of("cifar10").mirrored
    assert not data.of("digits").mirrored


def test_the_last_one_stays_in_memory(tmp_path: Path) -> None:
    write(tmp_path / "svhn.npz")
    data = DataSets(tmp_path)
    first = data.of("svhn")
    shutil.rmtree(tmp_path)
    assert data.of("svhn") is first


def test_a_copy_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "cifar10.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="cifar10.npz"):
        DataSets(tmp_path).of("cifar10")


def test_the_classes_of_a_subset_are_picked_from_a_copy_of_imagenet(tmp_path: Path) -> None:
    picked = [one.wordnet for one in SUBSETS["imagewoof"]]
    folder(tmp_path / "ImageNet", ("n00000001", *sorted(picked), "n99999999"))
    found = DataSets(tmp_path).of("imagewoof")
    assert (found.name, found.class_names, found.size) == ("imagewoof", tuple(picked), (128, 128))
    folder(tmp_path / "imagewoof2-160", [*sorted(picked), "n99999999"])
    assert DataSets(tmp_path).of("imagewoof").num_classes == 11  # a copy of its own comes first


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_folder_that_is_none_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no such folder"):
        DataSets(tmp_path / name)


def test_the_fine_classes_of_a_table_of_cifar100_are_taken(tmp_path: Path) -> None:
    """Its tables have two columns of labels, as those of the hub."""
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    columns = {"img": encoded, "fine_label": [n % 4 for n in range(12)], "coarse_label": [n % 2 for n in range(12)]}
    (tmp_path / "cifar100").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "cifar100" / "train.parquet")
    assert DataSets(tmp_path).of("cifar100").num_classes == 4
