"""The three downloads of the paper's own data sets, in small files of exactly the public formats."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import condensed_sets
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pictures import folder, noise
from scipy.io import savemat
from scipy.sparse import csc_matrix

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError

Heard = Callable[[], str]
Array = NDArray[Any]
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def heard(capsys: pytest.CaptureFixture[str]) -> Heard:
    """What was said since the last call."""
    return lambda: capsys.readouterr().err


def idx(array: Array) -> bytes:
    """Write bytes as MNIST's authors do: two zeros, 8 for bytes, the number of axes, their lengths, the numbers."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist(
    root: Path, images: str = "images-idx3-ubyte", labels: str = "labels-idx1-ubyte", end: str = "", prefix: str = ""
) -> tuple[Array, Array]:
    """Fill a folder with 20 training images of 7×5 pixels and 10 test images; return the arrays of training."""
    root.mkdir(parents=True, exist_ok=True)
    pack: Callable[[bytes], bytes] = gzip.compress if end else bytes
    for split, count in (("train", 20), ("t10k", 10)):
        pixels = noise(count, 7, 5, seed=count)
        (root / f"{prefix}{split}-{images}{end}").write_bytes(pack(idx(pixels)))
        (root / f"{prefix}{split}-{labels}{end}").write_bytes(pack(idx(np.arange(count) % 10)))
    return noise(20, 7, 5, seed=20), np.arange(20) % 10


def again(data: ImageDataset) -> ImageDataset:
    """Load from the source as a stored set does."""
    return load(**json.loads(json.dumps(data.source)))


# IDX, the format of MNIST, Fashion-MNIST and their like


@pytest.mark.parametrize(
    ("images", "labels", "end"),
    [
        ("images-idx3-ubyte", "labels-idx1-ubyte", ""),
        ("images-idx3-ubyte", "labels-idx1-ubyte", ".gz"),
        ("images.idx3-ubyte", "labels.idx1-ubyte", ""),
        ("images.idx3-ubyte", "labels.idx1-ubyte", ".gz"),
    ],
)
def test_the_four_files_of_mnist(tmp_path: Path, images: str, labels: str, end: str, heard: Heard) -> None:
    pixels, numbers = mnist(tmp_path / "mnist", images, labels, end)
    data = load(tmp_path / "mnist")
    assert not data.mirrored
    assert "its images are not mirrored" in heard()
    assert (data.name, data.class_names) == ("mnist", tuple("0123456789"))
    assert torch.equal(data.train.images, torch.from_numpy(pixels)[:, None])
    assert data.train.labels.tolist() == numbers.tolist()
    assert len(data.test) == 10
    assert again(data).fingerprint == data.fingerprint


def test_idx_files_some_folders_down(tmp_path: Path, heard: Heard) -> None:
    mnist(tmp_path / "data" / "MNIST" / "raw")
    (tmp_path / "data" / "MNIST" / "processed").mkdir()
    (tmp_path / "data" / "MNIST" / "processed" / "training.pt").write_bytes(b"x")
    assert len(load(tmp_path / "data").train) == 20
    assert "Not used of" in (said := heard())
    assert "MNIST/processed (1 in all)" in said


def test_labels_of_eight_columns_are_those_of_qmnist(tmp_path: Path, heard: Heard) -> None:
    _, labels = mnist(tmp_path, labels="labels-idx2-int", prefix="qmnist-")
    for split, count in (("train", 20), ("t10k", 10)):
        columns = np.column_stack([np.arange(count) % 10, noise(count, 7)])
        (tmp_path / f"qmnist-{split}-labels-idx2-int").write_bytes(idx(columns))
    assert load(tmp_path).train.labels.tolist() == labels.tolist()
    assert "qmnist-train-labels-idx2-int: the first of 8 columns is the label, as in QMNIST" in heard()


def test_idx_files_packed_and_unpacked_are_read_once(tmp_path: Path, heard: Heard) -> None:
    mnist(tmp_path)
    mnist(tmp_path, end=".gz")
    assert len(load(tmp_path).train) == 20
    assert "t10k-images-idx3-ubyte.gz" in (said := heard())
    assert "(4 in all)" in said


def test_idx_without_a_test_split_holds_some_out(tmp_path: Path, heard: Heard) -> None:
    mnist(tmp_path)
    for file in tmp_path.glob("t10k*"):
        file.unlink()
    data = load(tmp_path)
    assert (len(data.train), len(data.test)) == (10, 10)
    assert "has no test split" in heard()


def test_gzip_is_told_by_the_bytes_not_by_the_name(tmp_path: Path) -> None:
    mnist(tmp_path, end=".gz")
    for file in tmp_path.iterdir():
        if "images" in file.name:  # a browser took gzip off these
            file.write_bytes(gzip.decompress(file.read_bytes()))
        else:
            file.rename(file.with_suffix(""))
    assert len(load(tmp_path).train) == 20


def test_emnist_is_turned_upright(tmp_path: Path, heard: Heard) -> None:
    pixels, _ = mnist(tmp_path, prefix="emnist-letters-")
    data = load(tmp_path)
    assert torch.equal(data.train.images[:, 0], torch.from_numpy(pixels.transpose(0, 2, 1).copy()))
    assert not data.mirrored
    assert "turned upright" in heard()
    mnist(tmp_path, prefix="emnist-digits-")
    with pytest.raises(UserError, match="several data sets, emnist-digits, emnist-letters"):
        load(tmp_path)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def replaced(file: Path) -> None:
    file.write_bytes(b"<html>not found</html>")


def swapped(file: Path) -> None:
    file.write_bytes(idx(np.arange(3)))


@pytest.mark.parametrize(
    ("end", "spoil", "message"),
    [
        ("", cut, r"train-labels-idx1-ubyte holds 25 bytes where its header announces 28: .* fetch it again"),
        ("", replaced, r"train-labels-idx1-ubyte does not begin like an IDX file"),
        ("", lambda file: file.write_bytes(b""), r"train-labels-idx1-ubyte does not begin like an IDX file"),
        ("", swapped, r"20 images in train-images-idx3-ubyte, but 3 labels in train-labels-idx1-ubyte"),
        ("", Path.unlink, r"the train labels are missing"),
        (".gz", cut, r"cannot read .*train-labels-idx1-ubyte.gz: "),
        (".gz", lambda file: file.write_bytes(file.read_bytes()[:12] + b"x" * 20), r"cannot read .*ubyte.gz: "),
    ],
)
def test_idx_files_that_are_damaged(tmp_path: Path, end: str, spoil: Callable[[Path], Any], message: str) -> None:
    mnist(tmp_path, end=end)
    spoil(tmp_path / f"train-labels-idx1-ubyte{end}")
    with pytest.raises(UserError, match=message):
        load(tmp_path)


def test_one_file_of_several_is_refused(tmp_path: Path) -> None:
    mnist(tmp_path)
    with pytest.raises(UserError, match="one file of several; give the folder"):
        load(tmp_path / "train-images-idx3-ubyte")
    cifar100(tmp_path / "cifar")
    with pytest.raises(UserError, match="one file of several; give the folder"):
        load(tmp_path / "cifar" / "train.bin")


def test_two_data_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST" / "raw")
    mnist(tmp_path / "FashionMNIST" / "raw")
    with pytest.raises(UserError, match=r"holds several data sets: .*FashionMNIST/raw, .*MNIST/raw; give one"):
        load(tmp_path)
    assert load(tmp_path / "MNIST").num_classes == 10


# CIFAR's binary version


def records(count: int, seed: int, *labels: Array) -> tuple[bytes, Array]:
    """Write the labels, one byte each, and the pixels of each image; return the bytes, and the images N×C×H×W."""
    pixels = noise(count, 3, 32, 32, seed=seed)
    rows = np.concatenate([*(one.astype(np.uint8)[:, None] for one in labels), pixels.reshape(count, -1)], axis=1)
    return rows.tobytes(), pixels


def cifar10(root: Path) -> list[Array]:
    """Fill a folder with five training batches of 10 images and a test batch; return the images of each."""
    root.mkdir(parents=True)
    images = []
    for number, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        data, pixels = records(10, number, (np.arange(10) + number) % 10)
        (root / name).write_bytes(data)
        images.append(pixels)
    (root / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    (root / "readme.html").write_text("<html>")
    return images


def test_cifar_10(tmp_path: Path, heard: Heard) -> None:
    images = cifar10(tmp_path / "cifar-10-batches-bin")
    data = load(tmp_path / "cifar-10-batches-bin")
    assert data.class_names == TEN
    assert torch.equal(data.train.images, torch.from_numpy(np.concatenate(images[:5])))
    assert torch.equal(data.test.images, torch.from_numpy(images[5]))
    assert data.train.labels[10:20].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert "readme.html (1 in all)" in heard()
    above = load(tmp_path)
    assert above.fingerprint == data.fingerprint == again(data).fingerprint


def test_cifar_10_without_some_of_its_files(tmp_path: Path, heard: Heard) -> None:
    cifar10(tmp_path / "c")
    for name in ("data_batch_3.bin", "test_batch.bin", "batches.meta.txt"):
        (tmp_path / "c" / name).unlink()
    data = load(tmp_path / "c")
    assert (len(data.train) + len(data.test), data.class_names) == (40, tuple("0123456789"))
    said = heard()
    assert "without data_batch_3.bin, test_batch.bin, 2 of the 6 files" in said
    assert "without batches.meta.txt" in said
    assert "has no test split" in said
    for file in (tmp_path / "c").glob("data_batch*"):
        file.rename(file.with_name("test_batch.bin"))
    with pytest.raises(UserError, match="holds no data_batch_1.bin"):
        load(tmp_path / "c")


def test_cifar_batches_of_differing_lengths_are_pointed_out(tmp_path: Path, heard: Heard) -> None:
    cifar10(tmp_path / "c")
    (tmp_path / "c" / "data_batch_2.bin").write_bytes(records(4, 9, np.arange(4))[0])
    assert len(load(tmp_path / "c").train) == 44
    assert "10 in data_batch_1.bin, 4 in data_batch_2.bin" in heard()


def test_cifar_10_of_some_classes_leaves_the_others_out(tmp_path: Path, heard: Heard) -> None:
    cifar10(tmp_path / "c")
    for file in (tmp_path / "c").glob("*.bin"):
        file.write_bytes(records(4, 9, np.array([3, 5, 3, 5]))[0])
    data = load(tmp_path / "c")
    assert data.class_names == ("cat", "dog")
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert "8 of 10 classes have no image and are left out: airplane" in heard()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            records(10, 0, np.arange(10))[0][:-5],
            "data_batch_2.bin holds 30725 bytes, no whole number of records of 3073",
        ),
        (b"", "data_batch_2.bin holds 0 bytes"),
        (records(2, 0, np.array([1, 11]))[0], "data_batch_2.bin holds the label 11, of 10 classes"),
    ],
)
def test_cifar_batches_that_are_damaged(tmp_path: Path, data: bytes, message: str) -> None:
    cifar10(tmp_path / "c")
    (tmp_path / "c" / "data_batch_2.bin").write_bytes(data)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "c")


def cifar100(root: Path, classes: int = 100) -> Array:
    root.mkdir(parents=True)
    fine = np.arange(200) % 100
    data, pixels = records(200, 1, fine // 5, fine)
    (root / "train.bin").write_bytes(data)
    (root / "test.bin").write_bytes(records(100, 2, fine[:100] // 5, fine[:100])[0])
    (root / "fine_label_names.txt").write_text("\n".join(f"fine {k}" for k in range(classes)) + "\n")
    (root / "coarse_label_names.txt").write_text("\n".join(f"coarse {k}" for k in range(20)) + "\n")
    return pixels


def test_cifar_100_by_its_fine_labels(tmp_path: Path, heard: Heard) -> None:
    pixels = cifar100(tmp_path / "cifar-100-binary")
    data = load(tmp_path / "cifar-100-binary")
    assert (data.num_classes, data.class_names[:3]) == (100, ("fine 0", "fine 1", "fine 2"))
    assert torch.equal(data.train.images, torch.from_numpy(pixels))
    assert data.train.labels.tolist() == (np.arange(200) % 100).tolist()
    assert "the coarse ones are not used" in heard()
    (tmp_path / "cifar-100-binary" / "fine_label_names.txt").unlink()
    assert load(tmp_path / "cifar-100-binary").class_names == tuple(map(str, range(100)))


def test_files_called_train_bin_are_not_taken_for_cifar(tmp_path: Path) -> None:
    folder(tmp_path / "pictures")
    for name in ("train.bin", "test.bin"):
        (tmp_path / "pictures" / name).write_bytes(b"tokens")
    assert load(tmp_path / "pictures").class_names == ("ant", "bee")
    cifar100(tmp_path / "cifar")
    (tmp_path / "cifar" / "train.bin").write_bytes(b"tokens")
    with pytest.raises(UserError, match=r"train.bin holds 6 bytes, no whole number of records of 3074"):
        load(tmp_path / "cifar")


@pytest.mark.parametrize("names", [("data_batch_1", "test_batch", "batches.meta"), ("train", "test", "meta")])
def test_cifar_as_pickles_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(pickle.dumps({"data": [1]}))
    archive = "cifar-10-binary.tar.gz" if "data_batch_1" in names else "cifar-100-binary.tar.gz"
    with pytest.raises(UserError, match=f"a pickle may run any program.*: take the binary version, {archive}"):
        load(tmp_path)


def test_cifar_for_matlab_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "data_batch_1.mat", {"data": noise(2, 3072), "labels": [[0], [1]]})
    with pytest.raises(UserError, match="take the binary version, cifar-10-binary.tar.gz"):
        load(tmp_path)


# SVHN's cropped digits, and others of that form


def svhn(file: Path, count: int = 20, **changes: Any) -> Array:
    """Write X, H×W×C×N, and y, N×1 of 1 to 10; return the images N×C×H×W."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = noise(8, 6, 3, count, seed=count)
    savemat(file, {"X": pixels, "y": (np.arange(count) % 10 + 1)[:, None].astype(np.uint8)} | changes)
    return pixels.transpose(3, 2, 0, 1)


def test_svhn_folder(tmp_path: Path, heard: Heard) -> None:
    pixels = svhn(tmp_path / "train_32x32.mat")
    svhn(tmp_path / "test_32x32.mat", 10)
    svhn(tmp_path / "extra_32x32.mat", 10)
    data = load(tmp_path)
    assert torch.equal(data.train.images, torch.from_numpy(np.ascontiguousarray(pixels)))
    assert data.class_names == tuple("0123456789")
    assert data.train.labels.tolist()[:11] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert len(data.test) == 10
    assert not data.mirrored
    said = heard()
    assert "the label 10 of SVHN is the digit 0" in said
    assert "extra_32x32.mat (1 in all)" in said
    assert again(data).fingerprint == data.fingerprint


def test_svhn_file_alone(tmp_path: Path, heard: Heard) -> None:
    svhn(tmp_path / "train_32x32.mat")
    svhn(tmp_path / "test_32x32.mat")
    assert load(tmp_path / "train_32x32.mat").num_classes == 10
    assert "Not used: test_32x32.mat, beside train_32x32.mat" in heard()
    with pytest.raises(UserError, match="is the test split; give its folder"):
        load(tmp_path / "test_32x32.mat")


@pytest.mark.parametrize(
    ("arrays", "shape", "names"),
    [
        ({"images": noise(8, 6, 3, 12), "labels": np.arange(12)[:, None] % 3 + 1}, (3, 8, 6), ("1", "2", "3")),
        ({"images": noise(8, 6, 12), "labels": np.arange(12)[None] % 2}, (1, 8, 6), ("0", "1")),
        ({"x": noise(12, 8, 6, 3), "y": np.arange(12) % 2}, (3, 8, 6), ("0", "1")),
        ({"X": noise(8, 6, 3, 12), "y": np.arange(12)[:, None] % 2 + 9}, (3, 8, 6), ("9", "10")),
        ({"X": noise(3, 8, 6, 12), "y": np.arange(12) % 2}, (3, 8, 6), ("0", "1")),
    ],
)
def test_mat_files_of_that_form(
    tmp_path: Path, arrays: dict[str, Any], shape: tuple[int, ...], names: tuple[str, ...]
) -> None:
    savemat(tmp_path / "set.mat", arrays)
    data = load(tmp_path / "set.mat")
    assert (data.train.images.shape[1:], data.class_names) == (shape, names)


@pytest.mark.parametrize("name", ["signs.mat", "signs_32x32.mat", "train.mat"])
def test_only_svhns_own_files_are_taken_for_svhn(tmp_path: Path, heard: Heard, name: str) -> None:
    svhn(tmp_path / name, X=noise(32, 32, 3, 20))
    data = load(tmp_path / name)
    assert (data.class_names, data.mirrored) == (tuple(map(str, range(1, 11))), True)
    assert data.train.images.shape[1:] == (3, 32, 32)
    assert "SVHN" not in heard()


def test_mat_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "set.mat"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"cannot read .*set.mat: .*fetch it again"):
        load(file)
    file.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"x" * 100)
    with pytest.raises(UserError, match=r"cannot read .*set.mat: it is of MATLAB 7.3; save it with -v7"):
        load(file)
    svhn(file)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"cannot read .*set.mat: "):
        load(file)
    savemat(file, {"faces": noise(4, 4, 12)})
    with pytest.raises(UserError, match="set.mat holds faces; name the arrays"):
        load(file)
    savemat(file, {"x": noise(8, 8, 3, 8), "y": np.arange(8) % 2})
    with pytest.raises(UserError, match="does the first or the last axis count the images"):
        load(file)


def test_layout_is_not_for_files_that_say_it(tmp_path: Path) -> None:
    mnist(tmp_path)
    with pytest.raises(UserError, match="layout=NHW: .*known layout"):
        load(tmp_path, layout="NHW")


def test_lists_of_pictures_as_matlab_are_no_arrays(tmp_path: Path, heard: Heard) -> None:
    """As the Stanford Dogs have them."""
    folder(tmp_path / "Images", ("husky", "pug"), count=5)
    names = np.array([["husky/0.png"], ["pug/0.png"]], dtype=object)
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_list.mat", {"file_list": names, "labels": np.ones((2, 1))})
    assert load(tmp_path).class_names == ("husky", "pug")
    assert "2 .mat" in heard()


def test_cells_of_text_in_matlab_are_texts(tmp_path: Path) -> None:
    cells = np.array([["cat"], ["horse"]] * 4, dtype=object)
    savemat(tmp_path / "set.mat", {"images": noise(8, 6, 5, 3), "labels": cells})
    assert load(tmp_path / "set.mat").class_names == ("cat", "horse")
    names = {"images": noise(8, 6, 5, 3), "labels": np.arange(8) % 2 + 1, "classes": cells[:2]}
    savemat(tmp_path / "set.mat", names)
    assert load(tmp_path / "set.mat").class_names == ("cat", "horse")


def test_names_of_classes_in_matlab_lose_their_padding(tmp_path: Path) -> None:
    savemat(tmp_path / "set.mat", {"X": noise(8, 6, 5, 3), "y": np.array(["cat", "horse"] * 4)})
    assert load(tmp_path / "set.mat").class_names == ("cat", "horse")


def test_sparse_labels_of_matlab_are_read_and_sparse_images_refused(tmp_path: Path) -> None:
    flags = csc_matrix(np.eye(2)[[0, 1, 1, 0] * 2])
    savemat(tmp_path / "set.mat", {"x": noise(8, 6, 5, 3), "y": flags})
    assert load(tmp_path / "set.mat").class_names == ("0", "1")
    savemat(tmp_path / "flat.mat", {"X": csc_matrix(noise(8, 64)), "y": np.arange(8) % 2})
    with pytest.raises(UserError, match="rows of 64 numbers"):
        load(tmp_path / "flat.mat")


@pytest.mark.parametrize("classes", ["", "Images", "photos/train"])
@pytest.mark.parametrize("arrays", ["", "old/raw", "features"])
def test_arrays_beside_folders_of_images_are_refused(tmp_path: Path, classes: str, arrays: str) -> None:
    folder(tmp_path / classes, count=2)
    if arrays == "features":
        (tmp_path / arrays).mkdir()
        savemat(tmp_path / arrays / "train.mat", {"X": np.ones((8, 128)), "y": np.arange(8) % 2})
    else:
        mnist(tmp_path / arrays)
    with pytest.raises(UserError, match="folders of images \\(ant, bee\\) and arrays in .*: which are the data"):
        load(tmp_path)


def test_results_and_single_pictures_beside_arrays_are_told(tmp_path: Path) -> None:
    mnist(tmp_path)
    before = load(tmp_path)
    for number in (1, 2):
        condensed_sets.make().save(tmp_path / "runs" / f"set{number}")
    for name in ("docs", "figures"):
        folder(tmp_path, classes=[name], count=1)
    for name in ("@eaDir/x", "@eaDir/y"):
        folder(tmp_path, classes=[name], count=3)
    assert load(tmp_path).fingerprint == before.fingerprint


def test_one_folder_of_pictures_beside_arrays_is_told(tmp_path: Path, heard: Heard) -> None:
    mnist(tmp_path)
    folder(tmp_path, classes=["samples"], count=2)
    assert len(load(tmp_path).train) == 20
    assert "samples" in heard()


def test_splits_in_files_of_their_own_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", x=noise(8, 6, 5), y=np.arange(8) % 2)
    for given in (tmp_path, [tmp_path / "train.npz", tmp_path / "test.npz"]):
        with pytest.raises(UserError, match="save the arrays of all splits in one .npz, as x_train"):
            load(given)
