"""Which column of a list names pictures, and what is said of a list that should name some and does not."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from m3d_condense.data.columns import INDEX, LABELS
from m3d_condense.data.finding import Index, about, said_by
from m3d_condense.data.side_files import LISTING, LISTS, ListTable, is_number
from m3d_condense.data.split_columns import tells_splits
from m3d_condense.data.words import DRAWN, PICTURES, ROLES, plain, tokens
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.text import listed

FILES = PICTURES | {"file", "files", "filename", "filepath", "path", "pic", "photograph"}  # words in names of columns
KEYS = {"id", "ids", "key", "name", "uuid", "uid"}
PICTURE_FILE = re.compile(r".+\.(jpe?g|jfif|png|bmp|gif|tiff?|webp|jp2|p[bgnp]m|tga)", re.IGNORECASE)
NEARLY = 0.9  # of the pictures that a column names, where another may be meant for its name


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A column that names pictures: its name and values, and the picture of each row, None where there is none."""

    column: str
    values: Sequence[str]
    pictures: Sequence[str | None]

    @property
    def count(self) -> int:
        """How many pictures it names."""
        return len(set(self.pictures) - {None})

    @property
    def has_endings(self) -> bool:
        """Whether most of its values have the endings of files."""
        return 2 * sum("." in value for value in self.values) > len(self.values)

    @property
    def counts_rows(self) -> bool:
        """Whether its values are the numbers of their rows, from 0 or from 1 on."""
        numbers = [value.strip() for value in self.values]
        return any(numbers == list(map(str, range(first, first + len(numbers)))) for first in (0, 1))

    @property
    def called(self) -> int:
        """How well it is called after pictures: 3 as `file_name`, 2 as `id`, 0 as `index`, `class`, `mask`; else 1."""
        words, called = set(tokens(self.column)), plain(self.column)
        if called in LABELS or (called in INDEX and called != "id") or not words.isdisjoint(DRAWN):
            return 0
        return 3 if not words.isdisjoint(FILES) else 2 if not words.isdisjoint(KEYS) else 1


def namings(path: str, table: ListTable, index: Index) -> list[Naming]:
    """Look up the values of every column of a file among the names of the pictures."""
    folder, role = posixpath.dirname(path), about(path)
    found = []
    for name, values in zip(table.names, table.values, strict=True):
        known = index.find_all(folder, values, role)
        found.append(Naming(column=name, values=values, pictures=[known[value] for value in values]))
    return found


def naming_column(
    columns: Sequence[Naming], path: str, table: ListTable, index: Index, file_column: str | None, where: str
) -> Naming | None:
    """Find the column that names pictures: one with nearly the most of them, at least half of its rows or of all.

    In a list of splits one is enough, if the column is not of numbers and its values seldom repeat. Of several such
    columns, one with the endings of files comes first, then one that is called after pictures, then one that does not
    count the rows: numbers of rows or classes may be names of pictures, and masks may lie beside these. Names of files
    may repeat, or some of these be missing, so that numbers name more pictures than the column that is meant.

    Raises UserError where several columns that name different pictures may be meant, or rows may be cut wrongly.
    """
    asked = [found for found in columns if file_column in (None, found.column)]
    possible = [found for found in asked if _names_enough(found, path, table, index)]
    most = max((found.count for found in possible), default=0)
    nearly = [found for found in possible if found.count >= NEARLY * most]
    if not nearly:
        return None
    chosen = max(nearly, key=lambda found: (found.has_endings, found.called, not found.counts_rows))
    fewer = [found for found in possible if found not in nearly and found.called == 3 > chosen.called]
    if not chosen.has_endings:
        chosen = next((found for found in fewer if name_files(found.values)), chosen)
    for other in (*nearly, *fewer):
        if list(other.pictures) != list(chosen.pictures) and not _comes_before(chosen, other):
            raise UserError(
                f"{where}: the columns {chosen.column} and {other.column} name different images; "
                f"give {Setting('image_column')} one of them"
            )
    if file_column is None:
        _check_others(chosen, columns, table, where)
    return chosen


def _check_others(chosen: Naming, columns: Sequence[Naming], table: ListTable, where: str) -> None:
    """Raise UserError where a column that is called after pictures names none, and the chosen one may by chance.

    It has no name, as where the cells of the rows are cut wrongly, or it counts the rows beside names of files.
    """
    others = [found for found in columns if found.called > 1 and found.count == 0]
    if table.surplus and chosen.column == "" and others:
        raise UserError(
            f"{where}: each row has a cell more than there are names of columns, and {others[0].column} names no "
            "image: put quotation marks around labels that hold the sign between cells, or give the first column a "
            "name too"
        )
    files = [found for found in others if found.called > 2 and all(map(_is_file, found.values))]
    if chosen.counts_rows and files:
        raise UserError(
            f"{where}: {files[0].column} names no image here, the first says {files[0].values[0]!r}, but "
            f"{chosen.column} does, which counts the rows: give {Setting('image_column', chosen.column)} if it is meant"
        )


def of_several(naming: Naming, path: str, index: Index) -> str:
    """Say which row is the first that names several pictures, and so none; "" where there is no such row."""
    for value, picture in zip(naming.values, naming.pictures, strict=True):
        same = index.all_called(value, about(path)) if picture is None else []
        if len(same) > 1:
            return f"{value!r} names {len(same)} images, {listed(same, 2)}: write which"
    return ""


def unnamed(columns: Sequence[Naming], path: str, table: ListTable, index: Index) -> tuple[str, bool] | None:
    """Say of a list in which no column names pictures what is wrong with it, and whether it surely should name some.

    It should if it has a column called labels, other than the folders' names, and names several pictures at once; or
    if it is called after labels or a split and has names of picture files, or such a column and the length of a list of
    the pictures, or is called after several splits, which its numbers then divide. None for files called otherwise.
    """
    words = tokens(posixpath.splitext(posixpath.basename(path))[0])
    rows = len(columns[0].values) if columns else 0
    if not LISTING.isdisjoint(words) and rows == 0 and table.ragged is not None:
        return "all of its rows have more or fewer cells than the first", False
    if LISTING.isdisjoint(words) or rows == 0:
        return None
    files = [found.values for found in columns if 2 * sum(map(_is_file, found.values)) >= rows]
    shown = files[0] if files else columns[0].values
    count = max(found.count for found in columns)
    named = f"only {count}" if count else "none"
    said = f"{named} of its {rows} rows name{'s' if count < 2 else ''} an image here, the first says {shown[0]!r}"
    alike = [] if count else index.called_alike(shown[0])
    if len(alike) > 1:
        said += f", as {len(alike)} images are called, {listed(alike, 2)}: write which"
    elif alike:
        said += f", but there is {alike[0]}"
    return said, _should_name(columns, words, index, bool(files), len(alike) > 1)


def _should_name(columns: Sequence[Naming], words: Sequence[str], index: Index, files: bool, alike: bool) -> bool:
    """Whether a list should surely name pictures, given whether it names files, and several pictures at once."""
    labels = [found.values for found in columns if plain(found.column) in LABELS]
    rows = len(columns[0].values)
    classes = [set(values) for values in labels if 2 * len(set(values)) <= rows]
    several = alike and rows > len({posixpath.dirname(path) for path in index.paths})  # else it may list the classes
    if several and any(not all(map(index.is_folder, names)) for names in classes):
        return True
    divides = len({ROLES[word] for word in words if word in ROLES}) > 1 and len(columns) > 1
    whole = bool(labels) and 2 * rows >= len(index.paths)
    return not LISTS.isdisjoint(words) and (files or divides or whole)


def are_first_row(path: str, table: ListTable, index: Index) -> bool:
    """Whether what was taken for the names of columns is a row: one of them names a picture as the values below do."""
    if table.plain:  # its columns have no names
        return False
    for name, values in zip(table.names, table.values, strict=True):
        alike = "." in name if any("." in value for value in values) else FILES.union(KEYS).isdisjoint(tokens(name))
        if alike and name not in values and index.find(posixpath.dirname(path), name, about(path)) is not None:
            return True
    return False


def _comes_before(one: Naming, other: Naming) -> bool:
    """Whether a column is meant to name the pictures rather than another: nothing speaks for the other."""
    if other.called == 0 < one.called:
        return True
    if one.has_endings != other.has_endings:
        return one.called >= other.called or other.counts_rows
    if one.counts_rows != other.counts_rows:
        return other.counts_rows
    return one.called > other.called


def _names_enough(found: Naming, path: str, table: ListTable, index: Index) -> bool:
    if found.count == 0 or 2 * found.count >= min(len(found.values), len(index.paths)):
        return found.count > 0
    divides = said_by(path) is not None or tells_splits(table.columns)
    return divides and 2 * len(set(found.values)) > len(found.values) and not all(map(is_number, found.values))


def name_files(values: Sequence[object]) -> bool:
    """Whether values are names of files of pictures, by their endings."""
    return len(values) > 0 and all(isinstance(value, str) and _is_file(value) for value in values)


def _is_file(value: str) -> bool:
    return PICTURE_FILE.fullmatch(value.strip()) is not None
