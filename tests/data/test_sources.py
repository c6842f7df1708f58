import io
import json
import sys

import datasets
import huggingface_hub.utils
import numpy as np
import pytest
import shared_data
import torch
from pictures import folder, noise
from PIL import Image

from m3d_condense.data import sources
from m3d_condense.data.dataset import ImageDataset
from m3d_condense.data.imagenet import SUBSETS
from m3d_condense.data.load import load
from m3d_condense.tools.errors import UserError
from m3d_condense.tools.progress import set_quiet


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


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


# folders


def test_folder_without_splits_in_an_awkward_place(tmp_path):
    root = folder(tmp_path / "my [set]", classes=("train", "test-tube", "größe né [1]*?"))
    (root / "train" / "notes.txt").write_text("no image")
    data = load(str(root))
    assert data.class_names == ("größe né [1]*?", "test-tube", "train")
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


def test_files_that_are_no_images_are_ignored_and_told(tmp_path, capsys):
    clean, littered = folder(tmp_path / "clean"), folder(tmp_path / "littered")
    litter = (
        "ant/Thumbs.db",
        "ant/.DS_Store",
        "ant/._0.png",
        "bee/a.txt",
        "bee/b.TXT",
        "bee/c.zip",
        "bee/none",
        "ant/m.mpg",
    )
    for name in (*litter, "ant/metadata.csv", "loose.png"):
        (littered / name).write_bytes(b"junk")
    for hidden in (".git", "__MACOSX", "ant/.ipynb_checkpoints"):
        (littered / hidden).mkdir()
        (littered / hidden / "0.png").write_bytes(b"junk")
    same(load(clean), load(littered))
    told = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("Not used"))
    kinds = "2 .txt, 2 hidden, 1 .csv, 1 .db, 1 .mpg, 1 .zip, 1 outside the class folders, 1 without an ending, "
    kinds += "1 in .git, 1 in .ipynb_checkpoints, 1 in __MACOSX"
    assert sorted(told.removeprefix(f"Not used in {littered}: ").split(", ")) == sorted(kinds.split(", "))


@pytest.mark.parametrize("suffix", ["JPG", "PNG", "webp", "gif"])
def test_endings(tmp_path, suffix):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(noise(6, 8, 3, seed=i)).save(tmp_path / name / f"{i}.{suffix}")
    data = load(tmp_path)
    assert (len(data.train), len(data.test), data.size) == (2, 2, (6, 8))


def test_images_at_any_depth_are_of_the_class_at_the_top(tmp_path):
    folder(tmp_path / "train" / "ant", classes=("a", "b/c"))
    folder(tmp_path / "train" / "bee", classes=(".",))
    folder(tmp_path / "test", classes=("ant", "bee/deep"), count=1)
    data = load(tmp_path)
    assert data.class_names == ("ant", "bee")
    assert data.train.labels.tolist() == [0] * 10 + [1] * 5
    assert data.test.labels.tolist() == [0, 1]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    real = folder(tmp_path / "real")
    (tmp_path / "links").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / "links" / name).symlink_to(real / name)
    (real / "ant" / "again").symlink_to(real / "ant")
    data = load(tmp_path / "links")
    assert (len(data.train), len(data.test)) == (8, 2)
    same(data, load(real))
    (real / "bee" / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"bee/gone\.png.*No such file"):
        load(real)


def test_a_test_split_may_lack_classes(tmp_path):
    folder(tmp_path / "train", classes=("ant", "bee", "fly"))
    folder(tmp_path / "test", classes=("bee",))
    (tmp_path / "test" / "fly").mkdir()
    data = load(tmp_path)
    assert data.class_names == ("ant", "bee", "fly")
    assert data.test.labels.tolist() == [1] * 5


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder(tmp_path / "set")
    data = load("~/set")
    assert data.source["data"] == str(tmp_path / "set")
    with pytest.raises(UserError, match="no-such-person-here/x: its home is unknown"):
        load("~no-such-person-here/x")


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match="neither parquet files nor"):
        load(tmp_path)
    folder(tmp_path, classes=("ant",))
    with pytest.raises(UserError, match=r"only one class \(ant\)"):
        load(tmp_path)
    (tmp_path / "bee").mkdir()
    (tmp_path / "bee" / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match="bee holds no readable images"):
        load(tmp_path)


def test_images_without_class_folders(tmp_path):
    folder(tmp_path / "flat", classes=(".",))
    with pytest.raises(
        UserError, match=r"flat holds no class folders \(5 images\): put the images of each class into one"
    ):
        load(tmp_path / "flat")
    folder(tmp_path / "split", classes=("train", "test"))
    with pytest.raises(UserError, match=r"train, test in .*/split look like splits, but train holds no class folders"):
        load(tmp_path / "split")
    assert load(folder(tmp_path / "outer" / "inner").parent).class_names == ("ant", "bee")


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
    with pytest.raises(UserError, match="label_column one of: kind, coarse"):
        load(root)
    data = load(root, label_column="coarse")
    assert data.class_names == ("p", "q")
    same(data, load(**data.source))
    with pytest.raises(UserError, match="no column of labels named wrong"):
        load(root, label_column="wrong")
    with pytest.raises(UserError, match="image_column"):
        load(root, label_column="kind", image_column="wrong")


def test_parquet_without_images(tmp_path):
    table = columns(12, more=(datasets.Value("int32"), [0, 1] * 6)).remove_columns("photo")
    with pytest.raises(UserError, match="no column of images, of encoded bytes or of arrays, only: kind, more"):
        load(parquet(tmp_path / "p", {"train": table}))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), (None, 3)])
@pytest.mark.parametrize("form", ["table", "parquet", "saved", "streamed"])
def test_images_are_of_the_mode_of_their_column(tmp_path, form, mode, channels):
    table = columns(12).cast_column("photo", datasets.Image(mode=mode))
    forms = {
        "table": lambda: table,
        "parquet": lambda: parquet(tmp_path / "p", {"train": table}),
        "saved": lambda: table.save_to_disk(tmp_path / "s") or tmp_path / "s",
        "streamed": lambda: table.to_iterable_dataset(),
    }
    data = load(forms[form]())
    assert data.channels == channels
    kept = set()
    for number in range(12):
        image = Image.fromarray(noise(5, 5, 3, seed=number)).convert("L" if channels == 1 else "RGB")
        kept.add(np.asarray(image).reshape(5, 5, channels).transpose(2, 0, 1).tobytes())
    assert {image.numpy().tobytes() for image in (*data.train.images, *data.test.images)} == kept


def test_grey_images_of_a_coloured_column_are_coloured():
    table = columns(12)
    grey = [png(noise(5, 5, seed=i)) for i in range(12)]
    table = table.remove_columns("photo").add_column("photo", grey).cast_column("photo", datasets.Image(mode="RGB"))
    data = load(table)
    assert data.channels == 3
    assert torch.equal(data.train.images[:, :1].expand(-1, 3, -1, -1), data.train.images)


def test_a_mode_that_is_not_read_is_refused():
    with pytest.raises(UserError, match="^image_column=photo: holds images of mode CMYK; cast them to L or RGB$"):
        load(columns(12).cast_column("photo", datasets.Image(mode="CMYK")))


def test_a_table_with_a_transform_is_refused():
    table = columns(12)
    for given in (table.with_transform(dict), {"train": table, "test": table.with_transform(dict)}):
        with pytest.raises(UserError, match=r"transform, which is not applied here: apply it with map\(\), or give"):
            load(given)
    same(load(table.with_format("torch")), load(table))


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


@pytest.mark.parametrize(
    "address",
    [
        "https://huggingface.co/datasets/ylecun/mnist",
        "http://www.huggingface.co/datasets/ylecun/mnist/",
        "huggingface.co/datasets/ylecun/mnist/viewer/mnist/train?row=3",
        "https://hf.co/datasets/ylecun/mnist/tree/main/data#top",
        "hf://datasets/ylecun/mnist",
        "datasets/ylecun/mnist",
    ],
)
def test_an_address_of_the_hub_is_the_id_in_it(monkeypatch, address, capsys):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a: asked.append(a) or {"train": columns(12)})
    data = load(address)
    assert asked == [("ylecun/mnist", None)]
    assert (data.name, data.source["data"], data.mirrored) == ("mnist", "ylecun/mnist", False)
    assert "look like letters" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["https://example.org/photos.zip", "s3://bucket/photos", "https://huggingface.co/x"]
)
def test_other_addresses_are_refused(address):
    with pytest.raises(UserError, match="is an address: fetch it, and give the folder or file"):
        load(address)


def test_splits_of_the_hub_that_are_not_used_are_told(monkeypatch, capsys):
    splits = {name: columns(12) for name in ("train", "unsupervised", "test", "dev")}
    monkeypatch.setattr(datasets, "load_dataset", lambda *a: splits)
    load("someone/thing")
    told = capsys.readouterr().err
    assert "Splits not used: unsupervised" in told
    assert "The dev split is not used (12 rows)" in told
    assert "look like letters, whose mirror images mean something else: give flip=False" in told


def test_the_hub_without_a_training_split_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *a: {"test": columns(12)})
    with pytest.raises(UserError, match="no train split, only test"):
        load("someone/thing")


def test_tables_that_are_only_read_in_order_lose_rows_without_a_label():
    table = columns(12).remove_columns("kind").add_column("kind", [None, "a", "b"] * 4).to_iterable_dataset()
    (rows,), names = sources.labelled({"train": table}, None, None)
    assert names == ("a", "b")
    assert rows.labels.tolist() == [0, 1] * 4
    assert [item[1] for item in rows] == [png(noise(5, 5, 3, seed=i))["bytes"] for i in range(12) if i % 3]


def test_imagenet_10_keeps_its_classes_in_order(monkeypatch):
    names = [f"class {i}" for i in range(1000)]
    wanted = [one.id for one in SUBSETS["imagenet-10"]]
    assert wanted == [452, 64, 374, 236, 993, 176, 882, 904, 503, 74]
    ids = [*range(40, 80), *wanted, *wanted]
    photos = [png(noise(4, 4, 3, seed=i)) for i in range(len(ids))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    labelled = datasets.Dataset.from_dict({"image": photos, "label": ids}, features=features)
    hidden = datasets.Dataset.from_dict({"image": photos, "label": [-1] * len(ids)}, features=features)
    splits = {"train": labelled, "validation": labelled, "test": hidden}
    monkeypatch.setattr(datasets, "load_dataset", lambda *a: splits)
    data = load("imagenet-10")
    assert data.class_names == tuple(names[i] for i in wanted)
    assert data.train.labels.tolist() == [wanted.index(i) for i in ids if i in wanted]
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


@pytest.mark.parametrize("quiet", [False, True])
def test_the_bars_of_a_download_respect_quiet(monkeypatch, quiet):
    shown = []
    modules = (datasets, huggingface_hub.utils)

    def download(*args):
        shown.extend(not module.are_progress_bars_disabled() for module in modules)
        return {"train": columns(12)}

    monkeypatch.setattr(datasets, "load_dataset", download)
    set_quiet(quiet)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    before = [not module.are_progress_bars_disabled() for module in modules]
    sources.find("mnist", None, None)
    assert shown == [False if quiet else bar for bar in before]
    assert [not module.are_progress_bars_disabled() for module in modules] == before


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


# real data


def test_real_mnist():
    data = load(shared_data.folder("mnist") / "test-00000-of-00001.parquet")
    assert (data.channels, data.size, data.num_classes) == (1, (28, 28), 10)
    assert len(data.train) + len(data.test) == 10_000
    assert data.mean[0] == pytest.approx(0.1325, abs=0.002)  # of MNIST's test images


def test_real_photographs():
    data = load(shared_data.folder("imagenette_mini"), size=32)
    assert data.train.images.shape == (1300, 3, 32, 32)
    assert torch.bincount(data.test.labels).tolist() == [50] * 10
    assert data.class_names[-1] == "tench"
