"""What the names of folders and files say: splits, pictures and what is drawn on them, other systems' files, our own.

Everything here is a pure function of names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from m3d_condense.data.labels import as_name
from m3d_condense.tools.leftovers import BESIDE, PATTERN

TRAIN, TEST, VALID = "train", "test", "validation"
WORDS = {
    TRAIN: ("train", "training", "trn", "trainval"),
    TEST: ("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout"),
    VALID: ("valid", "validation", "validate", "val", "dev", "development"),
}
"""Words for the parts of a data set, in the order in which they are taken for testing."""
ORDER = {word: rank for rank, word in enumerate((*WORDS[TRAIN], *WORDS[TEST], *WORDS[VALID]))}
ROLES = {word: role for role, words in WORDS.items() for word in words}
DATA = {"set", "sets", "data", "dataset", "datasets"}
FILLERS = {*DATA, "split", "part", "partition", "folder", "dir", "full", "all"}
PICTURES = {
    "image",
    "images",
    "img",
    "imgs",
    "jpegimages",
    "jpg",
    "jpeg",
    "png",
    "picture",
    "pictures",
    "photo",
    "photos",
}
GATHERED = PICTURES - {"image", "picture", "pictures", "photo", "photos"}
"""Names of folders of pictures which are no names of classes."""
PHOTOGRAPHED = PICTURES | {"rgb", "color", "colour", "input", "inputs", "original", "originals", "raw", "frames"}
"""Names of folders of pictures, beside which a folder of `DRAWN` is no class."""
DRAWN = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "segmentation"),
    *("segmentations", "segmentationclass", "segmentationobject", "segmask", "segmasks", "gt", "groundtruth"),
    *("trimap", "trimaps", "depth", "depths", "normals", "flow", "bbox", "bboxes", "boxes", "heatmap", "heatmaps"),
    *("labelids", "semantic", "instance", "instances", "panoptic", "alpha", "matte", "target", "targets"),
}
"""Names of folders that hold what belongs to pictures, drawn or written."""
DERIVED = r"(.+?)([ _-](mask|masks|gt|seg|segmentation|label|annotation|thumb|thumbnail)([ _-]?[0-9]+)?|-[0-9]+x[0-9]+)"
ASIDE = {"doc", "docs", "documentation", "meta", "metadata", "info", "scripts", "license", "licenses", "xml", "json"}
PARTS = (
    r"(^|.*[\W_])(k?fold|part|split|shard|batch|chunk|partition|cv|subset|set|data|dataset|image|img|folder|dir|zip)s?"
    r"[\W_]*[0-9]+"
)
THUMBNAILS = {"thumbnail", "thumbnails", "thumbs"}
SYSTEM = {
    *("__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found", "#recycle", "#snapshot"),
    *("__pycache__", "cvs", "network trash folder", "temporary items", ".git", ".svn", ".hg", ".dvc"),
    *("node_modules", "site-packages", "venv", "wandb", "mlruns", "lightning_logs"),
    *(".ipynb_checkpoints", ".cache", ".idea", ".vscode", ".appledouble", ".thumbnails", ".picasaoriginals"),
}


@dataclass(frozen=True, kw_only=True)
class SplitName:
    """A name that holds a word for a split.

    Attributes:
        role: `TRAIN`, `TEST` or `VALID`.
        word: the word itself, in small letters.
        rest: the other words, but for fillers such as `set` and numbers.
    """

    role: str
    word: str
    rest: tuple[str, ...]


@lru_cache(maxsize=2**14)
def split_name(name: str) -> SplitName | None:
    """Take a name such as ``Training_Set``, ``test1`` or ``seg-train`` apart; None where it names no split.

    A name with other words in it, as ``test-tube``, may be a class: its `rest` is not empty.
    """
    words = tokens(name)
    found = [word for word in words if word in ROLES]
    if len(found) == 2 and ROLES[found[0]] == TRAIN and ROLES[found[1]] == VALID:
        found = found[:1]
        words = [word for word in words if ROLES.get(word) != VALID]
    if len(found) != 1:
        return None
    rest = tuple(w for w in words if w != found[0] and w not in FILLERS | PICTURES and not w.isdecimal())
    return SplitName(role=ROLES[found[0]], word=found[0], rest=rest)


def tokens(name: str) -> list[str]:
    """Split a name into words in small letters: at separators, at numbers, and where small letters meet capitals."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=[0-9])|(?<=[0-9])(?=[^\W\d_])", " ", as_name(name))
    words = [word for word in re.split(r"[\W_]+", apart.casefold()) if word]
    joined = " ".join(words).replace("hold out", "holdout").replace("held out", "heldout").split()
    return [piece for word in joined for piece in _unglued(word)]


def _unglued(word: str) -> list[str]:
    """Split ``trainset`` into ``train`` and ``set``; other words stay whole."""
    if word in ROLES:
        return [word]
    for filler in FILLERS | PICTURES:
        first, last = word.removesuffix(filler), word.removeprefix(filler)
        if first in ROLES:
            return [first, filler]
        if last in ROLES:
            return [filler, last]
    return [word]


def is_pictures(name: str) -> bool:
    """Whether a folder is named after the pictures in it, as ``images``."""
    return plain(name) in PICTURES


def is_gathered(name: str) -> bool:
    """Whether a folder's name says that pictures are in it and not what they show, as ``images`` and ``jpg``."""
    return plain(name) in GATHERED


def is_data(name: str) -> bool:
    """Whether a folder is named after data or pictures, as ``PetImages`` or ``flowers_dataset``."""
    return not (DATA | PICTURES).isdisjoint(tokens(name))


def may_have_drawn(name: str) -> bool:
    """Whether a folder is named after pictures beside which masks may lie, as ``images`` or ``rgb``."""
    return plain(name) in PHOTOGRAPHED


def derived_from(stem: str) -> str | None:
    """Return the name of the picture to which a mask or thumbnail belongs by its own, as ``1`` of ``1_mask``."""
    match = re.fullmatch(DERIVED, stem, re.IGNORECASE) or re.fullmatch(r"thumb[ _-](.+)", stem, re.IGNORECASE)
    return match[1] if match is not None else None


def is_drawn(name: str) -> bool:
    """Whether a folder is named after what is drawn on pictures or written about them, as ``masks``."""
    return plain(name) in DRAWN


def is_aside(name: str) -> bool:
    """Whether a folder without pictures is no class, by its name."""
    return is_drawn(name) or is_pictures(name) or plain(name) in ASIDE


def is_numbered_part(name: str) -> bool:
    """Whether a name is that of a numbered part, as ``fold 3``."""
    return re.fullmatch(PARTS, as_name(name).casefold()) is not None


def copied_name(name: str) -> str | None:
    """Return the name, in small letters, of what was copied or augmented under this name; else None."""
    plain = as_name(name).casefold()
    match = re.fullmatch(r"copy of (.+)", plain) or re.fullmatch(
        r"(.+?)([ _-]+(copy|kopie|copie|copia)( ?\(?\d+\)?)?| ?\(\d+\)|(?<=[^\W\d_])[ _-]+(backup|bak|aug|augmented))",
        plain,
    )
    return match[1].strip() if match is not None else None


def is_system_folder(name: str) -> bool:
    """Whether a folder is made by a system, a file manager, a photo viewer or a tool, not by who collected the data."""
    return name.casefold() in SYSTEM | THUMBNAILS or name.startswith(("@", ".@", ".Trash", ".trash", ".thumb"))


def is_hidden(name: str) -> bool:
    """Whether file managers hide it: its name begins with a dot."""
    return name.startswith(".")


def is_our_leftover(name: str) -> bool:
    """Whether a file or folder is a temporary name of ours, or lies beside a set that is being made."""
    return name.endswith(BESIDE) or PATTERN.fullmatch(name) is not None


def plain(name: str) -> str:
    """Return a name without signs and in small letters."""
    return re.sub(r"[\W_]+", "", as_name(name).casefold())
