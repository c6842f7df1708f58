"""Files of other kinds than are read: what each looks like, and what to do about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from m3d_condense.data.tree import Folder, ending
from m3d_condense.tools.text import counted

ARRAYS = "open it yourself and give (images, labels), or save these with numpy.savez as an .npz"
TABLE = f"if it lists images, put it into their folder and give that folder; if it holds their pixels, {ARRAYS}"
KINDS: Sequence[tuple[str, str, str]] = (
    (r"\.tfrecords?([-.].*)?$|\.tfrec$", "TFRecord files", "export them as folders of images, parquet or .npz"),
    (r"\.(zip|7z|rar)$", "an archive", "unpack it and give the folder"),
    (r"\.(tar(\.\w+)?|tgz|tbz2?|txz)$", "a tar archive, as of WebDataset", "unpack it into one folder per class"),
    (r"\.(csv|tsv|jsonl?|txt|xlsx?|ods)$", "a table", TABLE),
    (r"\.(pt|pth|ckpt|pkl|pickle|joblib|p)$", "a pickle, which could run code and is not opened", ARRAYS),
    (r"\.(h5|hdf5?|hdf|nc|zarr)$", "an HDF5 file", ARRAYS),
    (r"\.(npy|mat|safetensors|bin|gz|bz2|xz)$", "a file of arrays or bytes", ARRAYS),
    (r"\.(mdb|lmdb|db|sqlite3?)$", "a database", "export it as folders of images or parquet"),
    (r"\.(arrow|feather|ipc)$", "Arrow files", "give the folder that save_to_disk made, or write parquet"),
    (r"\.(beton|mds|rec|idx|lst)$", "records of a training library", "export them as folders of images or parquet"),
    (r"\.(mp4|avi|mov|mkv|webm)$", "films", "extract pictures into one folder per class"),
    (r"\.(dcm|nii|nrrd|mha|svs|ndpi)$", "medical images", "convert them to PNG in one folder per class"),
    (r"\.(svgz?|eps|ai|pdf)$", "drawings without pixels", "convert them to PNG in one folder per class"),
    (r"\.(heic|heif|cr2|nef|arw|dng|raf|orf)$", "pictures of a camera's own kind", "convert them to JPEG or PNG"),
)

ONE_FILE = "save the arrays of all splits in one .npz, as x_train, y_train, x_test and y_test"


def kind_of(name: str) -> tuple[str, str] | None:
    """Return what a file looks like by its name, and what to do about it; None for one that says nothing."""
    return next(((what, advice) for pattern, what, advice in KINDS if re.search(pattern, name.lower())), None)


def content(folder: Folder) -> str | None:
    """Say what most files of a folder look like and what to do about them; None where they say nothing."""
    names = [
        (name, path)
        for below in folder.walk()
        for name, path in zip(below.others, below.paths(below.others), strict=True)
    ]
    kinds = Counter(kind for name, _ in names if (kind := kind_of(name)) is not None)
    bare = [path for name, path in names if ending(name) == "without an ending"]
    if len(bare) > max(kinds.values(), default=0):
        return (
            f"{counted(len(bare), 'file')} without an ending, such as {bare[0]}: pictures are known by their endings; "
            "if these are some, add .jpg, .png or what they are to their names"
        )
    for (what, advice), count in kinds.most_common(1):
        return f"{counted(count, 'file')} that look{'s' if count == 1 else ''} like {what}: {advice}"
    return None


def by_itself(root: Path, folder: Folder) -> list[str]:
    """Name, from the root, what is read if it is given itself: folders that `save_to_disk` made, .npz and .mat."""
    found: list[str] = []
    for below in folder.walk():
        if is_saved(below.others) and not any(below.path.startswith(f"{path}/") for path in found):
            found.append(below.path)
        found += [path for path in below.paths(below.others) if _holds_arrays(root / path)]
    return found


def is_saved(names: Sequence[str]) -> bool:
    """Whether files of these names are a data set that `datasets` has saved, in one folder or in several."""
    return "dataset_dict.json" in names or {"state.json", "dataset_info.json"} <= set(names)


def _holds_arrays(file: Path) -> bool:
    """Whether a file is one of arrays that is read, by its name, and by its beginning if it is MATLAB's."""
    if ending(file.name) != ".mat":
        return ending(file.name) == ".npz"
    with file.open("rb") as opened:
        return opened.read(10) == b"MATLAB 5.0"
