"""Folders and files on disk, read as they lie, without the network."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from pictures import folder, noise
from PIL import Image

from m3d_condense.data.load import load
from m3d_condense.data.tree import listing
from m3d_condense.tools.errors import UserError


def table(path: Path, count: int = 6) -> Path:
    """A parquet file whose images are files elsewhere in memory."""
    made = folder(path.parent / "made", classes=("x", "y"), count=count // 2)
    images = [file.read_bytes() for file in sorted(made.rglob("*.png"))]
    shutil.rmtree(made)
    pq.write_table(pa.table({"image": images, "label": ["x", "y"] * (count // 2)}), path)
    return path


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


# parquet beside images


def test_a_stray_parquet_file_does_not_replace_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean = load(folder(tmp_path / "clean"))
    folder(tmp_path / "photos")
    table(tmp_path / "photos" / "features.parquet")
    (tmp_path / "photos" / "ant" / "broken.parquet").write_bytes(b"junk")
    assert load(tmp_path / "photos").fingerprint == clean.fingerprint
    assert "features.parquet, ant/broken.parquet in" in told(capsys)


def test_images_and_parquet_that_are_both_whole_are_refused(tmp_path: Path) -> None:
    table(folder(tmp_path) / "train.parquet")
    with pytest.raises(UserError, match=r"folders of images \(ant, bee\) and parquet files \(train\.parquet\): which"):
        load(tmp_path)


def test_images_in_one_folder_beside_parquet_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path / "assets", classes=(".",), count=2)
    (tmp_path / "data").mkdir()
    table(tmp_path / "data" / "train-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text("read me")
    assert load(tmp_path).class_names == ("x", "y")
    assert f"Not used in {tmp_path}: 2 images, 1 .md" in told(capsys)


def test_a_parquet_file_beside_images_without_classes_is_named(tmp_path: Path) -> None:
    table(folder(tmp_path, classes=("train", "test1")) / "a.parquet")
    with pytest.raises(UserError, match=r"train holds no class folders.*; or give a\.parquet itself"):
        load(tmp_path)


def test_the_test_split_of_parquet_is_not_trained_on(tmp_path: Path) -> None:
    table(tmp_path / "data.parquet")
    table(tmp_path / "test.parquet")
    with pytest.raises(UserError, match=r"has no training split: test\.parquet by name for testing, and data\.parquet"):
        load(tmp_path)


def test_a_file_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    file, link = table(tmp_path / "train.parquet"), tmp_path / "same.parquet"
    link.symlink_to(file)
    for again in (file, link, tmp_path / "." / "sub" / ".." / "train.parquet"):
        with pytest.raises(UserError, match="train.parquet is given twice, and its images would be read twice"):
            load([file, again])


def test_a_parquet_file_in_the_place_of_a_folder_is_entered(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").mkdir()
    table(tmp_path / "train.parquet" / "part-0.parquet")
    assert load(tmp_path).class_names == load(tmp_path / "train.parquet").class_names == ("x", "y")


# what is on the disk


def test_the_results_of_a_run_in_the_folder_of_the_data_are_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from m3d_condense import condense

    before = load(folder(tmp_path, shape=(16, 16, 3)))
    condense(before, method="random", ipc=1, out=tmp_path / "runs" / "photos-random-ipc1")
    assert load(tmp_path).fingerprint == before.fingerprint
    assert "of m3d's own results in runs/photos-random-ipc1" in told(capsys)
    with pytest.raises(UserError, match="is a condensed set: give the data it was condensed from"):
        load(tmp_path / "runs" / "photos-random-ipc1")


def test_pipes_and_sockets_among_images_are_counted_and_not_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load(folder(tmp_path))
    os.mkfifo(tmp_path / "ant" / "9.png")
    with socket.socket(socket.AF_UNIX) as listener:
        place = Path.cwd()
        os.chdir(tmp_path)  # the names of sockets are short
        listener.bind("bee/9.png")
        os.chdir(place)
    assert load(tmp_path).fingerprint == before.fingerprint
    assert "2 pipes, sockets and devices" in told(capsys)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train.mat", "data_batch_1.bin", "train.bin"])
def test_pipes_called_like_arrays_are_not_opened(tmp_path: Path, name: str) -> None:
    before = load(folder(tmp_path))
    os.mkfifo(tmp_path / name)
    assert load(tmp_path).fingerprint == before.fingerprint


def test_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="it is no regular file"):
        load(tmp_path / "a.parquet")


def test_links_in_circles_and_to_what_is_around_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load(folder(tmp_path / "photos"))
    (tmp_path / "photos" / "ant" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "bee" / "around").symlink_to(tmp_path)
    (tmp_path / "photos" / "bee" / "self").symlink_to(tmp_path / "photos" / "bee" / "self")
    (tmp_path / "photos" / "cat").symlink_to(tmp_path / "photos" / "ant")
    (tmp_path / "photos" / "latest").symlink_to(tmp_path / "nowhere")
    assert load(tmp_path / "photos").fingerprint == before.fingerprint
    line = told(capsys)
    assert "3 links to folders that are read already" in line
    assert "2 links to nowhere" in line
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="no such file or folder"):
        load(tmp_path / "loop")


def test_a_class_may_be_a_link_to_a_hidden_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path, classes=("ant", "bee"))
    folder(tmp_path / ".store", classes=("cow", "dog"))
    (tmp_path / "cow").symlink_to(tmp_path / ".store" / "cow")
    found = load(tmp_path)
    assert found.class_names == ("ant", "bee", "cow")
    line = told(capsys)
    assert "in the hidden folder .store" in line
    assert "links" not in line


def test_what_a_link_leads_to_keeps_the_name_of_its_own_place(tmp_path: Path) -> None:
    folder(tmp_path, classes=("bee", "zebra"))
    (tmp_path / "ant").symlink_to(tmp_path / "zebra")
    assert load(tmp_path).class_names == ("bee", "zebra")


def test_folders_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, classes=("ant", "/".join(["x"] * 80)), count=1)
    with pytest.raises(UserError, match="more than 60 folders within folders"):
        load(tmp_path)


@pytest.fixture
def closed() -> Iterator[Path]:
    """Two folders of images, with a closed folder each; who runs the tests as root is somebody else meanwhile."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for part, below in (("photos", "lost+found"), ("other", "private")):
            (folder(Path(name) / part) / below).mkdir(mode=0)
        try:
            os.seteuid(65534) if root else None
            yield Path(name)
        finally:
            os.seteuid(0) if root else None


def test_a_closed_folder_of_the_system_is_told_and_any_other_is_refused(closed: Path) -> None:
    paths, skipped = listing(closed / "photos", {".png"})
    assert (len(paths), skipped) == (10, {"folders of a system, closed to us": 1})
    with pytest.raises(UserError, match="cannot read .*private: Permission denied; allow it or move the folder away"):
        listing(closed / "other", {".png"})


def test_names_too_long_to_exist_are_no_paths() -> None:
    for name in ("x" * 5000, "a/" * 3000, "\0"):
        with pytest.raises(UserError, match="no such file or folder"):
            load(name)


# lists of labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,label\n{}"),
        ("metadata.jsonl", "{}"),
        ("labels.csv", "image,label\n{}"),
        ("train.csv", "image,label\n{}"),
    ],
)
def test_flat_images_with_a_list_of_labels(tmp_path: Path, name: str, text: str) -> None:
    root = folder(tmp_path / "photos", classes=(".",), count=8)
    line = '{{"file_name": "{0}.png", "label": "{1}"}}\n' if name.endswith("jsonl") else "{0}.png,{1}\n"
    lines = [line.format(number, ["10", "9", "", "nan"][number % 4]) for number in range(8)]
    (root / name).write_text(text.format("".join(lines)))
    data = load(root)
    assert data.class_names == ("9", "10")
    assert len(data.train) + len(data.test) == 4


def test_labels_are_read_from_a_metadata_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        root = folder(tmp_path / "photos" / split, classes=(".",), count=4)
        names = [f"{number}.png" for number in range(4)]
        pq.write_table(pa.table({"file_name": names, "label": ["b", "a", "b", "a"]}), root / "metadata.parquet")
    data = load(tmp_path / "photos")
    assert data.class_names == ("a", "b")
    assert data.train.labels.tolist() == data.test.labels.tolist() == [1, 0, 1, 0]
    assert "Not used" not in told(capsys)


def test_a_damaged_metadata_parquet_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", classes=(".",), count=4)
    (root / "metadata.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(UserError, match=r"cannot read .*metadata\.parquet"):
        load(root)


def test_ids_in_a_metadata_parquet_stand_for_the_names_that_datasets_has_written(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", classes=(".",), count=4)
    listed = datasets.Dataset.from_dict(
        {"file_name": [f"{number}.png" for number in range(4)], "label": [1, 0, 1, 0]},
        features=datasets.Features(
            {"file_name": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "ant"])}
        ),
    )
    listed.to_parquet(root / "metadata.parquet")
    assert load(root).class_names == ("ant", "cat")


def test_a_list_of_utf_16_is_read_and_one_that_is_no_text_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "photos", classes=(".",), count=4)
    lines = "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(4))
    (root / "labels.csv").write_text("file,label\n" + lines, encoding="utf-16")
    assert load(root).class_names == ("a", "b")
    (folder(tmp_path / "classes") / "labels.csv").write_bytes(b"file,caf\xe9")
    assert load(tmp_path / "classes").class_names == ("ant", "bee")
    assert "labels.csv in" in told(capsys)


def test_a_folder_whose_name_is_no_utf_8_is_a_class(tmp_path: Path) -> None:
    folder(tmp_path, classes=("ant", "bee"))
    try:
        os.rename(os.fsencode(tmp_path / "bee"), os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    assert load(tmp_path).class_names == ("ant", "caf\\xe9")


# other forms


@pytest.mark.parametrize("splits", [True, False])
def test_a_folder_of_save_to_disk_is_read(tmp_path: Path, splits: bool) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y"])})
    images = [Image.fromarray(noise(4, 4, 3, seed=number)) for number in range(8)]
    saved = datasets.Dataset.from_dict({"image": images, "label": [0, 1] * 4}, features=features)
    whole = datasets.DatasetDict(train=saved, test=saved) if splits else saved
    whole.save_to_disk(tmp_path / "saved")
    data = load(tmp_path / "saved")
    assert data.class_names == ("x", "y")
    assert len(data.train) + len(data.test) == (16 if splits else 8)
    first = data.train.images[0].numpy()
    assert any(np.array_equal(first, noise(4, 4, 3, seed=number).transpose(2, 0, 1)) for number in range(8))


def test_a_saved_split_without_rows_is_named(tmp_path: Path) -> None:
    saved = datasets.Dataset.from_dict({"image": [Image.fromarray(noise(4, 4, 3))] * 4, "label": [0, 1] * 2})
    datasets.DatasetDict(train=saved, test=saved.select(range(0))).save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match="holds a split without rows: save it again without that split"):
        load(tmp_path / "saved")


def test_a_damaged_saved_data_set_is_named(tmp_path: Path) -> None:
    saved = datasets.Dataset.from_dict({"image": [Image.fromarray(noise(4, 4, 3))] * 4, "label": [0, 1] * 2})
    saved.save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(UserError, match="saved: its state.json or dataset_info.json is damaged; save it again"):
        load(tmp_path / "saved")


def test_splits_may_be_made_of_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, count in (("a", 4), ("z", 2)):
        folder(tmp_path / "all" / part, classes=("ant", "bee"), count=count)
    for split, part in (("train", "a"), ("test", "z")):
        (tmp_path / "whole" / split).mkdir(parents=True)
        for name in ("ant", "bee"):
            (tmp_path / "whole" / split / name).symlink_to(tmp_path / "all" / part / name)
        (tmp_path / "all" / split).symlink_to(tmp_path / "all" / part)
    for root in (tmp_path / "whole", tmp_path / "all"):  # the classes are links, or the splits themselves
        data = load(root)
        assert (len(data.train.labels), len(data.test.labels)) == (8, 4)
    assert "links" not in capsys.readouterr().err


def test_classes_that_are_links_to_a_folder_beside_the_splits_are_of_the_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path / "data", classes=("ant", "bee"), count=4)
    folder(tmp_path / "test", classes=("ant", "bee"), count=2)
    (tmp_path / "train").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).symlink_to(tmp_path / "data" / name)
    data = load(tmp_path)
    assert (len(data.train.labels), len(data.test.labels)) == (8, 4)
    assert "links" not in capsys.readouterr().err


def test_splits_that_are_links_to_one_folder_are_told(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos")
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        (tmp_path / "data" / split).symlink_to(photos)
    with pytest.raises(UserError, match="left out are 1 links to folders that are read already"):
        load(tmp_path / "data")


def test_a_saved_table_does_not_open_files_elsewhere(tmp_path: Path) -> None:
    secret = folder(tmp_path, classes=("secret",), count=1) / "secret" / "0.png"
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [{"path": str(secret), "bytes": None}] * 4, "label": ["a", "b"] * 2}
    undecoded = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    undecoded["label"] = features["label"]
    saved = datasets.Dataset.from_dict(rows, features=undecoded)
    saved.save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match="names the file .*secret/0.png, which is none in"):
        load(tmp_path / "saved")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.zip", "an archive; unpack it and give the folder"),
        ("a.tar.gz", "a tar archive, as of WebDataset; unpack it"),
        ("a-00000.tar", "a tar archive, as of WebDataset"),
        ("a.tfrecord-00000-of-00002", "TFRecord files; export them"),
        ("a.csv", "a table; if it lists images, put it into their folder"),
        ("a.pt", "a pickle, which could run code and is not opened; open it yourself"),
        ("a.h5", "an HDF5 file; open it yourself"),
        ("a.arrow", "Arrow files; give the folder that save_to_disk made"),
        ("a.lmdb", "a database; export it"),
        ("a.mp4", "films; extract pictures"),
        ("a.xyz", "its ending is not known"),
    ],
)
def test_files_of_other_kinds_are_named_with_what_to_do(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=what) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["0.tar", "0.tfrecord", "a.zip", "data.mdb", "x.h5", "x.dcm"])
def test_folders_of_other_kinds_are_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match="sub-folder of images per class; it holds 1 file that looks like .*: "):
        load(tmp_path)


def test_what_is_data_if_it_is_given_itself_is_named(tmp_path: Path) -> None:
    images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 4
    (tmp_path / "sub").mkdir()
    np.savez(tmp_path / "sub" / "data.npz", images=images, labels=labels)
    scipy.io.savemat(tmp_path / "sub" / "faces.mat", {"images": images, "labels": labels})
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file")
    (tmp_path / "a.csv").write_text("a,b")
    with pytest.raises(UserError, match="per class; give .*/sub/data.npz, .*/sub/faces.mat itself$") as caught:
        load(tmp_path)
    for word in str(caught.value).replace(",", " ").split():
        if word.startswith(str(tmp_path / "sub")):
            assert load(word).num_classes == 4


@pytest.mark.parametrize("splits", [False, True])
def test_a_folder_above_one_of_save_to_disk_names_that(tmp_path: Path, splits: bool) -> None:
    one = datasets.Dataset.from_dict({"a": [1]})
    (datasets.DatasetDict(train=one, test=one) if splits else one).save_to_disk(tmp_path / "kept" / "mine")
    with pytest.raises(UserError, match=f"per class; give {tmp_path}/kept/mine itself$"):
        load(tmp_path)


def test_pictures_without_an_ending_are_pointed_out(tmp_path: Path) -> None:
    folder(tmp_path)
    for number, file in enumerate(sorted((tmp_path / "bee").iterdir())):
        file.rename(file.with_name(f"{number:04d}"))
    with pytest.raises(
        UserError, match=r"class folder .*bee holds no readable images .*: pictures are known by their en"
    ):
        load(tmp_path)
    for number, file in enumerate(sorted((tmp_path / "ant").iterdir())):
        file.rename(file.with_name(f"{number:04d}"))
    (tmp_path / "labels.csv").write_text("file,label\n0000,a\n")
    with pytest.raises(
        UserError, match="it holds 10 files without an ending, such as ant/0000: pictures are known by "
    ):
        load(tmp_path)


def test_one_image_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0\.png is one image: give a folder"):
        load(folder(tmp_path) / "ant" / "0.png")


def test_what_is_left_out_is_named_where_nothing_else_is_there(tmp_path: Path) -> None:
    folder(tmp_path, classes=(".ant", ".bee"))
    with pytest.raises(UserError, match=r"left out are 5 in the hidden folder \.ant, 5 in the hidden folder \.bee"):
        load(tmp_path)


def test_a_class_that_is_called_as_what_is_left_out_is_named(tmp_path: Path) -> None:
    folder(tmp_path, classes=("thumbs", "fist"))
    with pytest.raises(UserError, match=r"only one class \(fist\) in .*; left out are 5 in thumbs$"):
        load(tmp_path)


def test_a_folder_above_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "photos")
    monkeypatch.chdir(tmp_path / "photos" / "ant")
    data = load("..")
    assert (data.name, data.source["data"]) == ("photos", str(tmp_path / "photos"))


# notices


@pytest.mark.parametrize(("classes", "kind"), [(("3", "7"), "digits"), (("A", "B", "C"), "letters")])
def test_folders_called_like_characters_are_pointed_out(
    tmp_path: Path, classes: tuple[str, ...], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(folder(tmp_path, classes=classes))
    assert f"look like {kind}, whose mirror images mean something else: give flip=False" in told(capsys)


def test_a_folder_called_none_is_a_class_with_a_notice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(folder(tmp_path / "a", classes=("none", "scratch", "nan"))).class_names == ("nan", "none", "scratch")
    assert "none is taken for a class" in told(capsys)
    load(folder(tmp_path / "b", classes=("cat", "0_No-Label", "unlabeled images", "unknown", "nonet")))
    assert "0_No-Label, unknown, unlabeled images is taken for a class" in told(capsys)


# the network

READING = """
import socket, sys
tried = []
def refuse(*arguments, **options):
    tried.append(arguments)
    raise OSError("no network here")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from m3d_condense.data.load import load
for path in sys.argv[1:]:
    load(path, size=8)
print("tried", len(tried), "datasets" in sys.modules)
"""


def forms(root: Path) -> list[str]:
    """A folder of images, one of parquet, and one parquet file."""
    folder(root / "photos")
    (root / "tables").mkdir()
    train = table(root / "tables" / "train.parquet")
    table(root / "tables" / "test.parquet")
    return [str(root / "photos"), str(root / "tables"), str(train)]


def environment(root: Path) -> dict[str, str]:
    """Nothing that turns the network off, and caches of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "M3D_"))}
    return kept | {"HF_HOME": str(root / "hub")}


def test_local_data_ask_no_host_and_need_no_library_that_would(tmp_path: Path) -> None:
    """Without any interface where the system permits that; everywhere with sockets that note what is tried."""
    alone = ["unshare", "--net", "--map-root-user"]
    permitted = (
        shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    )
    command = [*(alone if permitted else []), sys.executable, "-c", READING, *forms(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path), check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tried 0 False\n"
