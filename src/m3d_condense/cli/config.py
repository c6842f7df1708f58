"""Configuration files: what may stand in them, and how it becomes the defaults of a command's flags."""

from __future__ import annotations

import json
from argparse import Action
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from m3d_condense.cli.finding import Found, find, set_at
from m3d_condense.cli.wording import VALUE, mistakes_worded, short
from m3d_condense.recipes.names import imports_code
from m3d_condense.recipes.recipe import Recipe
from m3d_condense.tools.errors import Setting, UserError
from m3d_condense.tools.progress import notice

LARGEST = 2**20  # bytes of a file
ENDINGS = (".yaml", ".yml", ".json")  # of a file of settings
KEPT = {"int", "float", "timestamp"}  # kinds of YAML's whose text a flag reads by itself
SOURCE = {
    "data": "data",
    "size": "size",
    "image_column": "image_column",
    "label_column": "label_column",
    "layout": "layout",
    "seed": "split_seed",
    "classes": "classes",
}
"""What a condensed set says of its source, and the settings of the same meaning."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a configuration file holds.

    Attributes:
        path: of the file, or of the condensed set.
        settings: values by name, not yet checked.
        code: the network of a condensed set, where using it imports code, which a set does not decide; it is not
            among the settings.
        of_set: whether they are those of a condensed set.
    """

    path: Path
    settings: Mapping[str, Any]
    code: str | None = None
    of_set: bool = False

    def under(self, method: str | None, preset: str | None) -> Config:
        """Return what is left of a set's settings where another method or preset is asked for: all that is no recipe.

        The rest of a recipe follows from its method and its preset.
        """
        own = self.settings.get("method"), self.settings.get("preset")
        if not self.of_set or (method or own[0], preset or own[1]) == own:
            return self
        notice(f"{self.path}: its data, ipc and seed are taken; the other settings are those of what is asked for")
        dropped = {field.name for field in fields(Recipe)} - {"method", "preset", "ipc", "seed"}
        kept = {name: value for name, value in self.settings.items() if name not in dropped}
        return replace(self, settings=kept, code=None)


def read(path: Path, *, sets: bool) -> Config:
    """Read a YAML or JSON file of settings, or the settings of a condensed set.

    Args:
        path: of the file; or the folder of a condensed set, its condensed.json, or its id on the hub.
        sets: whether the command has a use for a condensed set's settings.

    Raises:
        UserError: the file cannot be read, is no regular file, is very large, or holds no settings.
    """
    here = set_at(path)
    if here is not None and not sets:
        raise UserError(f"--config {path}: only m3d condense takes its settings from a condensed set")
    elsewhere = path.suffix.lower() not in ENDINGS  # else it is a file of settings, though it be missing
    found = find(str(path)) if sets and (here is not None or elsewhere) else None
    if found is not None:
        return _of_set(found)
    content = _content(path)
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: holds no settings, such as `ipc: 10`")
    return Config(path=path, settings={_name(name): value for name, value in content.items()})


def apply(config: Config, parser: ArgumentParser) -> None:
    """Make the settings of a configuration file the defaults of a command.

    Raises:
        UserError: for a name that is no flag of the command, a value that its flag would not take, or two for one.
    """
    defaults, flags, given = parser.get_defaults(), _flags(parser), set[str]()
    for written, value in config.settings.items():
        flag = flags.get(written)
        name = written if flag is None else flag.dest
        if name in given:
            raise UserError(f"{config.path}: {Setting(name)}: given twice")
        given.add(name)
        if flag is None or name not in defaults or name == "config":
            unknown = f"unknown setting {short(repr(written), VALUE)}"
            raise UserError(f"{config.path}: {unknown}: settings are named as the flags of {parser.prog}")
        if value is None and defaults[name] is None:
            continue  # as if it were not there
        plain = _plain(flag, value, defaults[name], config.path)
        with mistakes_worded(f"{config.path}: "):
            parser.set_defaults({name: parser.parse_object({name: plain})[name]})


def _flags(parser: ArgumentParser) -> dict[str, Action]:
    """Return the flags of a command by all their names, and what it is given without a flag, as settings are named."""
    flags = {action.dest: action for action in parser._actions}
    return flags | {_name(name.lstrip("-")): flag for flag in parser._actions for name in flag.option_strings}


def _of_set(found: Found) -> Config:
    """Take the recipe, the source and the set it was grown from out of a condensed set, which may come from anyone."""
    from m3d_condense.sets.condensed import CondensedSet

    folder, condensed = found.folder, CondensedSet.load(found.folder)
    if condensed.imported:
        raise UserError(f"--config {found.name}: this set was imported, and the recipe that made it is not known")
    names = [field.name for field in fields(Recipe)]
    settings = {name: condensed.settings[name] for name in names if name in condensed.settings}
    settings |= {name: condensed.source[key] for key, name in SOURCE.items() if key in condensed.source}
    grown = condensed.settings.get("start_from")
    if isinstance(grown, dict) and grown.get("set") is not None:
        settings |= {"start_from": grown["set"], "keep_old": grown.get("kept")}
        _notice_changed(found.name, Path(str(grown["set"])), str(grown.get("fingerprint")))
    if condensed.settings.get("class_groups") is not None:
        settings["class_groups"] = condensed.settings["class_groups"]
    network = str(settings.get("network"))
    if not imports_code(network):
        return Config(path=folder, settings=settings, of_set=True)
    del settings["network"]
    return Config(path=folder, settings=settings, code=network, of_set=True)


def _notice_changed(name: str, earlier: Path, fingerprint: str) -> None:
    """Say so where the set that one was grown from is another one now."""
    from m3d_condense.sets.condensed import CondensedSet

    if set_at(earlier) is not None and not CondensedSet.load(earlier).told_by(fingerprint):
        notice(
            f"{name}: the set that it was grown from, {earlier}, is another one now, and so will be what is made of it"
        )


def _content(path: Path) -> Any:
    try:
        fault = _fault(path)
        if fault:
            raise UserError(f"--config {path}: {fault}; give a YAML or JSON file, or a condensed set")
        text = path.read_text(encoding="utf-8")
        once = partial(_once, path)
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=once)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            return None
        once([(key.value, None) for key, _ in node.value])
        for _, value in node.value:
            _keep_text(value)
        return yaml.SafeLoader("").construct_document(node)
    except UserError:
        raise
    except RecursionError:
        raise UserError(f"--config {path}: cannot be read: nested too deeply") from None
    except Exception as error:  # what is no YAML may raise anything
        raise UserError(f"--config {path}: cannot be read: {short(str(error)) or type(error).__name__}") from None


def _keep_text(value: yaml.Node) -> None:
    """Have YAML give a setting as it is written, so that 0123 stays a name, and no a class in a list of these."""
    among = value.value if isinstance(value, yaml.SequenceNode) else [value]
    kinds = KEPT if among == [value] else {*KEPT, "bool"}
    for one in among:
        if isinstance(one, yaml.ScalarNode) and one.tag.rpartition(":")[2] in kinds:
            one.tag = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG


def _once(path: Path, pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return pairs of a setting and a value as a dictionary; raises UserError for a setting that is there twice."""
    names = [_name(name) for name, _ in pairs]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UserError(f"{path}: {Setting(name)}: given twice")
    return dict(pairs)


def _name(written: Any) -> str:
    return str(written).replace("-", "_")


def _fault(path: Path) -> str:
    """Say why a path is not to be read: a pipe would be waited for, and a device may never end."""
    if path.is_dir():
        return "a folder, but no condensed set"
    if not path.exists():
        return "no such file"
    if not path.is_file():
        return "no regular file"
    return f"larger than {LARGEST} bytes" if path.stat().st_size > LARGEST else ""


def _plain(flag: Action, value: Any, default: Any, path: Path) -> Any:
    """Return a value as its flag would be given it: text, or true or false, or a list of these for several values."""
    name, several = flag.dest, flag.nargs in ("+", "*")
    if isinstance(default, bool) and not isinstance(value, bool):
        raise UserError(f"{path}: {Setting(name)}: expected true or false, without quotes")
    values = value if isinstance(value, list) and (several or name == "data") else [value]
    if any(one is None or (isinstance(one, str) and not one.strip()) for one in values):
        raise UserError(f"{path}: {Setting(name)}: no value; give one, or leave the line out")
    if several and not values:
        raise UserError(f"{path}: {Setting(name)}: at least one value")
    if not all(isinstance(one, str | int | float) for one in values):
        raise UserError(f"{path}: {Setting(name)}: expected {'a list of values' if several else 'one value'}")
    plain = [one if isinstance(one, bool) else str(one) for one in values]
    return plain if several or isinstance(value, list) else plain[0]
