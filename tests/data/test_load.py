import json
import os
from pathlib import Path

import numpy as np
import pictures
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.load import load
from m3d_condense.data.sampler import ClassSampler
from m3d_condense.data.sources import UNMIRRORED
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def same(left: ImageDataset, right: ImageDataset):
    assert left.fingerprint == right.fingerprint
    assert left.class_names == right.class_names


# digits, and what every data set tells of itself


def test_digits_are_scaled_split_and_described():
    digits = load("digits")
    assert (digits.name, digits.num_classes, digits.channels, digits.size) == ("digits", 10, 1, (8, 8))
    assert len(digits.train) + len(digits.test) == 1797
    assert int(digits.train.images.max()) == 255
    assert set(torch.unique(digits.train.images).tolist()) == {round(level * 255 / 16) for level in range(17)}
    assert digits.class_names == tuple("0123456789")
    same(digits, load(**json.loads(json.dumps(digits.source))))


def test_split_is_stratified_and_follows_the_seed():
    digits = load("digits")
    held_out, kept = (torch.bincount(split.labels) for split in (digits.test, digits.train))
    assert torch.all((held_out / (held_out + kept) - 0.2).abs() < 0.01)
    assert digits.fingerprint != load("digits", seed=1).fingerprint


def test_a_class_of_one_image_stays_in_training():
    labels = [0] + [1] * 2 + [2] * 10
    data = load((noise(13, 4, 4), labels))
    assert torch.bincount(data.test.labels, minlength=3).tolist() == [0, 1, 2]
    assert torch.bincount(data.train.labels).tolist() == [1, 1, 8]


def test_moments_are_those_of_the_training_pixels():
    images = noise(3000, 4, 5, 3)
    images[..., 2] = 51
    data = load((images, np.arange(3000) % 2), test=(images[:2], [0, 1]))
    np.testing.assert_allclose(data.mean, (images / 255).mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(data.std[:2], (images[..., :2] / 255).std((0, 1, 2)), rtol=1e-9)
    assert data.std[2] == 1.0


def test_fingerprint_sees_every_part():
    images, labels = noise(8, 4, 4), np.arange(8) % 2
    other = images.copy()
    other[-1, -1, -1] ^= 1
    makes = [
        (images, images),
        (other, images),
        (images, other),
        (images.reshape(8, 2, 8), images.reshape(8, 2, 8)),
    ]
    prints = {load((train, labels), test=(test, labels)).fingerprint for train, test in makes}
    prints.add(load((images, labels[::-1]), test=(images, labels)).fingerprint)
    assert len(prints) == 5


def test_a_loaded_data_set_passes_through():
    digits = load("digits")
    assert load(digits) is digits
    assert load(digits, size=8) is digits
    with pytest.raises(UserError, match="loaded already"):
        load(digits, size=16)


# arrays


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "float", "tensor"])
def test_layouts_hold_the_same_pixels(layout):
    pixels = noise(10, 4, 6, 3)
    images = {
        "NHW": pixels[..., 0],
        "NHWC": pixels,
        "NCHW": pixels.transpose(0, 3, 1, 2),
        "float": (pixels / 255).astype(np.float32),
        "tensor": torch.from_numpy(pixels).permute(0, 3, 1, 2),
    }[layout]
    data = load((images, ["b", "a"] * 5), test=(images, ["a", "b"] * 5))
    expected = pixels[..., :1] if layout == "NHW" else pixels
    np.testing.assert_array_equal(data.train.images.numpy(), expected.transpose(0, 3, 1, 2))
    assert data.class_names == ("a", "b")
    assert data.train.labels.tolist() == [1, 0] * 5
    assert data.test.labels.tolist() == [0, 1] * 5
    assert data.source["data"] is None


def test_integer_labels_are_numbered_in_order():
    data = load((noise(9, 4, 4), torch.tensor([30, 7, 100] * 3)))
    assert data.class_names == ("7", "30", "100")


def test_classes_without_a_test_image_are_named(capsys):
    load((noise(9, 4, 4), ["ant", "bee", "cat"] * 3), test=(noise(2, 4, 4), ["bee", "bee"]))
    assert "2 of 3 classes have no test image: ant, cat" in capsys.readouterr().err
    load((noise(13, 4, 4), [0] + [1] * 6 + [2] * 6))
    assert "1 of 3 classes have no test image: 0" in capsys.readouterr().err


# mistakes


ONES = np.ones((4, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((ONES, [0, 0, 0, 0]), "only one class"),
        ((ONES, [0, 1, 0]), "4 images, but labels of shape"),
        ((ONES * 200.0, [0, 1, 0, 1]), "range from 200 to 200"),
        ((np.where(np.arange(4)[:, None, None] == 2, np.nan, ONES), [0, 1, 0, 1]), "hold NaN"),
        ((ONES[0], [0, 1, 0, 1]), "shape"),
        ((ONES, [0.5, 1, 0.5, 1]), "the label 0.5 in row 0 of the train split is no class"),
        ((ONES[:0], []), "shape"),
        ((ONES, [0, 1, 2, 3]), "one image a class"),
        (None, "given again"),
    ],
)
def test_arrays_that_cannot_be_used(data, message):
    with pytest.raises(UserError, match=message):
        load(data)


@pytest.mark.parametrize("size", [0, -3])
def test_sizes_below_a_pixel_are_refused(size):
    with pytest.raises(UserError, match=f"^size={size}: at least 1$"):
        load("digits", size=size)


@pytest.mark.parametrize("size", [8.0, (8, 8), True, "8"])
def test_a_size_is_a_whole_number_of_pixels(size):
    with pytest.raises(UserError, match="^size=.*: a whole number$"):
        load("digits", size=size)


@pytest.mark.parametrize("name", ["", " ", ["", "more.parquet"], "\n"])
def test_an_empty_name_is_not_the_working_folder(name):
    with pytest.raises(UserError, match="the name of the data is empty"):
        load(name)


def test_sizes_beyond_all_use_are_refused():
    with pytest.raises(UserError, match="^size=1000000000000000000: at most 65536$"):
        load("digits", size=10**18)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_npz_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.array([Trap(tmp_path / "sprung")] * 2, dtype=object), y=[0, 1])
    with pytest.raises(UserError, match="cannot read .*plain arrays"):
        load(tmp_path / "set.npz")
    assert not (tmp_path / "sprung").exists()


# the sampler


def test_sampler_draws_the_class_without_repeats():
    labels = torch.randint(0, 4, (400,), generator=torch.Generator().manual_seed(0))
    drawn = ClassSampler(labels, 4).draw([2, 0, 2], 50, torch.Generator().manual_seed(1))
    assert drawn.shape == (3, 50)
    assert drawn.dtype == torch.int64
    assert torch.equal(labels[drawn], torch.tensor([2, 0, 2])[:, None].expand(3, 50))
    assert all(len(set(row.tolist())) == 50 for row in drawn)
    assert set(drawn[0].tolist()) != set(drawn[2].tolist())


def test_sampler_draws_a_small_class_again():
    drawn = ClassSampler(torch.tensor([0, 1, 1, 1, 0]), 2).draw([1], 7, torch.Generator().manual_seed(0))[0]
    assert set(drawn[:3].tolist()) == set(drawn[3:6].tolist()) == {1, 2, 3}
    assert len(drawn) == 7


def test_sampler_has_no_state_but_the_generator():
    sampler = ClassSampler(torch.arange(100) % 5, 5)
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    first, second = (sampler.draw(range(5), 10, generator) for _ in range(2))
    assert not torch.equal(first, second)
    generator.set_state(state)
    assert torch.equal(sampler.draw(range(5), 10, generator), first)


def test_sampler_reaches_every_image():
    sampler, generator = ClassSampler(torch.zeros(20, dtype=torch.int64), 1), torch.Generator().manual_seed(0)
    assert {int(i) for _ in range(60) for i in sampler.draw([0], 5, generator).flatten()} == set(range(20))


@pytest.mark.parametrize("name", ["mnist", "MNIST", "digits", "svhn"])
def test_a_folder_s_name_does_not_say_whether_its_images_are_mirrored(tmp_path: Path, name: str) -> None:
    pictures.folder(tmp_path / name)
    assert load(tmp_path / name).mirrored
    assert load(str(tmp_path / name)).mirrored


@pytest.mark.parametrize("name", ["mnist", "MNIST/raw"])
def test_a_folder_of_digits_that_is_called_so_is_not_mirrored(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_quiet(False)
    pictures.folder(tmp_path / name, tuple("0123456789"))
    assert not load(tmp_path / name).mirrored
    assert "its images are not mirrored; give flip=True if they may be" in capsys.readouterr().err
    assert load(pictures.folder(tmp_path / "numbers", tuple("0123456789"))).mirrored


def test_known_data_sets_know_whether_they_are_mirrored() -> None:
    assert not load("digits").mirrored
    assert {"digits", "mnist", "ylecun/mnist", "svhn", "ufldl-stanford/svhn"} == UNMIRRORED


def test_images_that_are_read_twice_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1).repeat(4, 1).repeat(4, 2) * 6
    labels = np.arange(40) % 2
    load((images[:30], labels[:30]), test=(images[30:], labels[30:]))
    assert "once more" not in capsys.readouterr().err
    load((images[[*range(30), *range(10)]], labels[[*range(30), *range(10)]]), test=(images[30:], labels[30:]))
    assert "10 of 40 training images are others of them once more: are data read twice?" in capsys.readouterr().err


def test_test_images_that_are_training_images_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1).repeat(4, 1).repeat(4, 2) * 6
    labels = np.arange(40) % 2
    load((images[:20], labels[:20]), test=(images[20:], labels[20:]))
    assert "training images too" not in capsys.readouterr().err
    load((images[:20], labels[:20]), test=(images[15:], labels[15:]))
    assert "5 of 25 test images are training images too" in capsys.readouterr().err


def test_a_split_is_read_by_torchs_loaders_image_by_image(digits):
    image, label = digits.train[3]
    assert torch.equal(image, digits.train.images[3])
    assert int(label) == int(digits.train.labels[3])
    part = Subset(digits.train, [0, 5])
    images, labels = next(iter(DataLoader(part, batch_size=2)))
    assert torch.equal(images, digits.train[torch.tensor([0, 5])].images)
    assert torch.equal(labels, digits.train.labels[[0, 5]])
    assert len(digits.train[:3]) == 3
    with pytest.raises(IndexError):
        digits.train[len(digits.train)]
