import io
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from m3d_condense.data import ClassSampler, ImageDataset, load
from m3d_condense.errors import UserError
from m3d_condense.sources import IMAGENET_100

SHARED = Path(os.environ.get("M3D_DATA", Path(__file__).parents[2] / "shared" / "data"))


def shared(name):
    return pytest.param(
        SHARED / name, marks=pytest.mark.skipif(not (SHARED / name).exists(), reason=f"no {SHARED / name}")
    )


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def folder(root, classes=("ant", "bee"), count=5, shape=(6, 8, 3)):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(noise(*shape, seed=100 * number + i)).save(root / name / f"{i}.png")
    return root


def columns(count=12, **features):
    label = [i % 3 for i in range(count)]
    table = {"photo": [png(noise(5, 5, 3, seed=i)) for i in range(count)], "kind": label}
    kinds = {"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["x", "y", "z"])}
    for name, (feature, values) in features.items():
        kinds[name], table[name] = feature, values
    return datasets.Dataset.from_dict(table, features=datasets.Features(kinds))


def parquet(root, splits):
    root.mkdir()
    for name, table in splits.items():
        table.to_parquet(root / f"{name}-00000-of-00001.parquet")
    return root


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


def test_import_is_light():
    code = "import sys, m3d_condense.data; print({'datasets', 'sklearn'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


# arrays and .npz


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


@pytest.mark.parametrize(
    "keys",
    [
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("images", "labels"),
        ("x", "y"),
    ],
)
def test_npz_by_the_names_of_its_arrays(tmp_path, keys):
    arrays = (noise(10, 4, 4), np.arange(10) % 2, noise(4, 4, 4, seed=1), np.arange(4) % 2)
    np.savez(tmp_path / "set.npz", class_names=["cat", "dog"], **dict(zip(keys, arrays, strict=False)))
    data = load(tmp_path / "set.npz")
    assert (data.name, data.class_names) == ("set", ("cat", "dog"))
    assert (len(data.train), len(data.test)) == ((10, 4) if len(keys) == 4 else (8, 2))
    same(data, load(**data.source))


def test_size_resizes_arrays():
    data = load((np.full((8, 6, 9, 3), 77, np.uint8), [0, 1] * 4), size=4)
    assert data.size == (4, 4)
    assert torch.all(data.train.images == 77)


# folders


def test_folder_without_splits_in_an_awkward_place(tmp_path):
    root = folder(tmp_path / "my [set]", classes=("train", "test-tube", "car"))
    (root / "car" / "notes.txt").write_text("no image")
    data = load(str(root))
    assert data.class_names == ("car", "test-tube", "train")
    assert (len(data.train), len(data.test)) == (12, 3)
    same(data, load(**data.source))


@pytest.mark.parametrize("held_out", ["test", "val", "validation", "valid"])
def test_folder_with_splits(tmp_path, held_out, capsys):
    folder(tmp_path / "train")
    folder(tmp_path / held_out, classes=("bee",), count=2)
    data = load(tmp_path)
    assert data.class_names == ("ant", "bee")
    assert data.test.labels.tolist() == [1, 1]
    first = np.asarray(Image.open(tmp_path / "train" / "bee" / "0.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(data.train.images[5].numpy(), first)
    assert ("is the test split" in capsys.readouterr().err) == (held_out != "test")


def test_folder_test_split_with_an_unknown_class(tmp_path):
    folder(tmp_path / "train")
    folder(tmp_path / "test", classes=("ant", "wasp"))
    with pytest.raises(UserError, match="wasp"):
        load(tmp_path)


def test_mixed_sizes_need_a_size(tmp_path):
    folder(tmp_path, count=4)
    Image.new("RGB", (30, 20)).save(tmp_path / "bee" / "z.png")
    with pytest.raises(UserError, match=r"from 8×6 to 30×20 pixels.*--size"):
        load(tmp_path)
    data = load(tmp_path, size=5)
    assert data.size == (5, 5)
    same(data, load(**data.source))


def test_resize_keeps_the_centre(tmp_path):
    folder(tmp_path)
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).convert("RGB").save(tmp_path / "ant" / "0.png")
    data = load(tmp_path, size=10)
    images = torch.cat([data.train.images, data.test.images])
    assert (images == 200).flatten(1).all(dim=1).sum() == 1


def decoded(tmp_path, image, **options):
    """The pixels C×H×W of one image saved by PIL, beside grey ones of its size."""
    suffix = options.pop("suffix", "png")
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.new("L", (4, 4), 9).save(tmp_path / "test" / name / "x.png")
    image.save(tmp_path / "train" / "a" / f"0.{suffix}", **options)
    Image.new("L", (4, 4), 7).save(tmp_path / "train" / "b" / "0.png")
    return load(tmp_path).train.images[0].numpy()


def test_sixteen_bit_grey_is_scaled(tmp_path):
    levels = np.array([0, 128, 129, 257, 32768, 65000, 65535, 257 * 200] * 2, np.uint16).reshape(4, 4)
    np.testing.assert_array_equal(decoded(tmp_path, Image.fromarray(levels))[0], np.rint(levels / 257))


def test_one_bit_is_black_and_white(tmp_path):
    bits = noise(4, 4) > 127
    np.testing.assert_array_equal(decoded(tmp_path, Image.fromarray(bits))[0], bits * 255)


def test_palette_is_colour(tmp_path):
    image = Image.new("RGB", (4, 4), (10, 200, 30))
    assert decoded(tmp_path, image.quantize(4))[:, 2, 2].tolist() == [10, 200, 30]


def test_transparency_lies_on_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    pixels = decoded(tmp_path, image)
    assert pixels[:, 0, 0].tolist() == [255, 0, 0]
    assert pixels[:, 1, 1].tolist() == [255, 255, 255]


def test_transparent_grey_stays_grey(tmp_path):
    image = Image.new("LA", (4, 4), (100, 255))
    assert decoded(tmp_path, image).tolist() == [[[100] * 4] * 4]


def test_cmyk_becomes_rgb(tmp_path):
    red = decoded(tmp_path, Image.new("CMYK", (4, 4), (0, 255, 255, 0)), suffix="jpg", quality=100)
    assert red.shape[0] == 3
    assert red[0].min() > 200
    assert red[1:].max() < 60


def test_exif_orientation_turns_the_image(tmp_path):
    upright = np.zeros((4, 4), np.uint8)
    upright[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    stored = Image.fromarray(np.rot90(upright).copy())
    np.testing.assert_array_equal(decoded(tmp_path, stored, exif=exif)[0], upright)


def test_one_colour_image_makes_all_rgb(tmp_path):
    root = folder(tmp_path, shape=(6, 8))
    assert load(root).channels == 1
    Image.new("RGB", (8, 6), (1, 2, 3)).save(root / "bee" / "9.png")
    data = load(root)
    assert data.channels == 3
    images = torch.cat([data.train.images, data.test.images])
    assert int((images[:, 0] == images[:, 2]).flatten(1).all(dim=1).sum()) == 10


@pytest.mark.parametrize("damage", ["cut", "junk", "empty"])
def test_a_damaged_image_is_named(tmp_path, damage):
    root = folder(tmp_path, shape=(40, 40, 3))
    file = root / "bee" / "3.png"
    file.write_bytes({"cut": file.read_bytes()[:900], "junk": b"junk", "empty": b""}[damage])
    with pytest.raises(UserError, match=r"bee/3\.png.*replace or remove"):
        load(root)


# parquet and the hub


def test_parquet_folder_file_and_list(tmp_path):
    root = parquet(tmp_path / "p", {"train": columns(12), "test": columns(6)})
    data = load(root)
    assert (len(data.train), len(data.test), data.class_names) == (12, 6, ("x", "y", "z"))
    np.testing.assert_array_equal(data.train.images[4].numpy(), noise(5, 5, 3, seed=4).transpose(2, 0, 1))
    files = sorted(root.glob("*.parquet"), reverse=True)
    same(data, load(files))
    one = load(files[0], seed=3)
    assert len(one.train) + len(one.test) == 12
    for found in (data, load(files), one):
        same(found, load(**json.loads(json.dumps(found.source))))


def test_labels_by_type_when_there_is_no_class_label(tmp_path):
    words = [("pear", "fig", "apple")[i % 3] for i in range(12)]
    table = columns(
        12,
        word=(datasets.Value("string"), words),
        file=(datasets.Value("string"), [f"{i}.png" for i in range(12)]),
    ).remove_columns("kind")
    data = load(parquet(tmp_path / "p", {"train": table}))
    assert data.class_names == ("apple", "fig", "pear")


def test_two_label_columns_must_be_told_apart(tmp_path):
    coarse = datasets.ClassLabel(names=["p", "q"]), [i // 6 for i in range(12)]
    root = parquet(tmp_path / "p", {"train": columns(12, coarse=coarse)})
    with pytest.raises(UserError, match="--label-column one of: kind, coarse"):
        load(root)
    data = load(root, label_column="coarse")
    assert data.class_names == ("p", "q")
    same(data, load(**data.source))
    with pytest.raises(UserError, match="no column of labels named wrong"):
        load(root, label_column="wrong")
    with pytest.raises(UserError, match="--image-column"):
        load(root, label_column="kind", image_column="wrong")


def test_a_damaged_row_is_named(tmp_path):
    table = columns(12).cast_column("photo", datasets.Image(decode=False)).to_dict()
    table["photo"][7] = {"bytes": b"junk", "path": None}
    features = columns(1).features
    root = parquet(tmp_path / "p", {"train": datasets.Dataset.from_dict(table, features=features)})
    with pytest.raises(UserError, match="row 7 of the train split"):
        load(root)


def test_a_damaged_parquet_file_is_one_line(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(UserError, match=r"cannot read .*train\.parquet") as caught:
        load(tmp_path / "train.parquet")
    assert "\n" not in str(caught.value)


def test_hub_names_reach_the_hub(monkeypatch):
    asked = []
    coarse = datasets.ClassLabel(names=["p", "q"]), [0, 1] * 6
    fine = datasets.ClassLabel(names=["u", "v"]), [1, 0] * 6
    table = columns(12, coarse_label=coarse, fine_label=fine).remove_columns("kind")
    monkeypatch.setattr(datasets, "load_dataset", lambda *a: asked.append(a) or {"train": table, "test": table})
    assert load("cifar100").class_names == ("u", "v")
    assert load("svhn", label_column="coarse_label").class_names == ("p", "q")
    assert load("someone/thing:big", label_column="fine_label").name == "thing-big"
    assert asked == [
        ("uoft-cs/cifar100", None),
        ("ufldl-stanford/svhn", "cropped_digits"),
        ("someone/thing", "big"),
    ]


def test_imagenet_10_keeps_its_classes_in_order(monkeypatch):
    names = [f"class {i}" for i in range(1000)]
    ids = [*range(40, 80), *IMAGENET_100[:10], *IMAGENET_100[:10]]
    photos = [png(noise(4, 4, 3, seed=i)) for i in range(len(ids))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    labelled = datasets.Dataset.from_dict({"image": photos, "label": ids}, features=features)
    hidden = datasets.Dataset.from_dict({"image": photos, "label": [-1] * len(ids)}, features=features)
    splits = {"train": labelled, "validation": labelled, "test": hidden}
    monkeypatch.setattr(datasets, "load_dataset", lambda *a: splits)
    data = load("imagenet-10")
    assert data.class_names == tuple(names[i] for i in IMAGENET_100[:10])
    assert data.train.labels.tolist() == [IMAGENET_100.index(i) for i in ids if i in IMAGENET_100[:10]]
    assert torch.equal(data.test.labels, data.train.labels)
    assert ids[24] == 64
    assert torch.equal(data.train.images[0], torch.from_numpy(noise(4, 4, 3, seed=24).transpose(2, 0, 1)))


def test_the_hub_out_of_reach_is_one_line(monkeypatch):
    def unreachable(*args):
        raise ConnectionError("Couldn't reach 'uoft-cs/cifar10' on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match="check name and network.*folder") as caught:
        load("cifar10")
    assert "\n" not in str(caught.value)


def test_loading_leaves_the_library_as_it_was(tmp_path):
    before = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    load(folder(tmp_path))
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == before


# mistakes


def test_missing_paths_and_misspelt_names(tmp_path):
    with pytest.raises(UserError, match="no such file or folder: .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no such file or folder: cifar-10; did you mean cifar10"):
        load("cifar-10")


ONES = np.ones((4, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((ONES, [0, 0, 0, 0]), "only one class"),
        ((ONES, [0, 1, 0]), "4 images, but labels of shape"),
        ((ONES * 200.0, [0, 1, 0, 1]), "range from 200 to 200"),
        ((np.where(np.arange(4)[:, None, None] == 2, np.nan, ONES), [0, 1, 0, 1]), "from 1 to 1 and NaN"),
        ((ONES.astype(np.int64), [0, 1, 0, 1]), "int64"),
        ((ONES[0], [0, 1, 0, 1]), "shape"),
        ((ONES, [0.5, 1, 0.5, 1]), "labels of type float64"),
        ((ONES[:0], []), "shape"),
        ((ONES, [0, 1, 2, 3]), "one image a class"),
        (None, "given again"),
    ],
)
def test_arrays_that_cannot_be_used(data, message):
    with pytest.raises(UserError, match=message):
        load(data)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match="neither parquet files nor"):
        load(tmp_path)
    folder(tmp_path, classes=("ant",))
    with pytest.raises(UserError, match=r"only one class \(ant\)"):
        load(tmp_path)
    (tmp_path / "bee").mkdir()
    with pytest.raises(UserError, match="bee is empty"):
        load(tmp_path)


def test_npz_that_cannot_be_used(tmp_path):
    file = tmp_path / "set.npz"
    np.savez(file, pictures=ONES)
    with pytest.raises(UserError, match="holds pictures; name the arrays"):
        load(file)
    np.savez(file, x=np.array([None, {}], dtype=object), y=[0, 1])
    with pytest.raises(UserError, match="cannot read"):
        load(file)
    np.savez(file, x=ONES, y=[0, 1, 0, 1], class_names=["a", "b", "c"])
    with pytest.raises(UserError, match="no training image of c"):
        load(file)


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


# real data


@pytest.mark.parametrize("path", [shared("mnist")])
def test_real_mnist(path):
    data = load(path / "test-00000-of-00001.parquet")
    assert (data.channels, data.size, data.num_classes) == (1, (28, 28), 10)
    assert len(data.train) + len(data.test) == 10_000
    assert data.mean[0] == pytest.approx(0.1325, abs=0.002)  # of MNIST's test images


@pytest.mark.parametrize("path", [shared("imagenette_mini")])
def test_real_photographs(path):
    data = load(path, size=32)
    assert data.train.images.shape == (1300, 3, 32, 32)
    assert torch.bincount(data.test.labels).tolist() == [50] * 10
    assert data.class_names[-1] == "tench"
