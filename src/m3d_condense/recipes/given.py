"""What a caller gives for a setting, as Python's own value of its type. Free of torch, so that help is quick."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from os import PathLike, fspath
from pathlib import PurePath
from types import FunctionType
from typing import Any, TypeAlias, TypeVar, cast, get_type_hints

from m3d_condense.recipes.recipe import SEED_LEAST, SEED_MOST, Recipe
from m3d_condense.tools.defaults import torchs_own
from m3d_condense.tools.errors import UserError

Architecture: TypeAlias = str | Callable[..., Any]
"""A network by its name; or a class or function of a module, which is called with channels=, num_classes= and size=."""
F = TypeVar("F", bound=Callable[..., Any])
KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}


def converted(name: str, value: Any) -> Any:
    """Return the value of a setting of `Recipe` as its type; a number of NumPy or torch becomes Python's.

    A set's settings are stored, which no other numbers can be: so they are refused or converted before the first step.

    Raises:
        UserError: for a value of another type.
    """
    if name == "seed":
        return checked_seed(name, value)
    return of_kind(name, named(name, value) if name == "network" else value, _types()[name])


def given_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `Recipe` that are given, those that are not None, as Python's own values.

    Raises:
        UserError: for an unknown setting, or a value of another type.
    """
    known = Recipe.__dataclass_fields__
    unknown = sorted(name for name, value in settings.items() if value is not None and name not in known)
    if unknown:
        raise UserError(f"unknown setting {unknown[0]!r}: one of {', '.join(known)}")
    return {name: converted(name, value) for name, value in settings.items() if value is not None}


def checked(function: F) -> F:
    """Make a public function refuse what is no bool, number, name, seed or path where it takes one, before all else.

    Python takes any text for true, and torch, pathlib and dictionaries say of what they cannot take what helps nobody.
    What is looked at is told by the annotations, which are text in this package. A scalar of NumPy or torch becomes
    Python's. A network may be given as a class or a function.
    Sets are refused everywhere. The function runs under torch's own default device and type, and without autocast,
    whatever the caller's.

    Raises:
        UserError: from the function, for such an argument.
    """
    signature = inspect.signature(function)
    checks = {
        name: checked_seed if name == "seed" else _CHECKS.get(str(one.annotation).removesuffix(" | None"))
        for name, one in signature.parameters.items()
    }

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        for name, value in given.arguments.items():
            check_ordered(name, value)
            check, parameter = checks[name], signature.parameters[name]
            left_out = value is None and str(parameter.annotation).endswith(" | None")
            if check is not None and value is not parameter.default and not left_out:
                given.arguments[name] = check(name, value)
        with torchs_own():
            return function(*given.args, **given.kwargs)

    return cast(F, run)


def check_ordered(name: str, value: Any) -> None:
    """Raise `UserError` for a set, whose order differs from process to process."""
    if isinstance(value, set | frozenset):
        raise UserError(f"a {type(value).__name__} has no order; give a list", setting=name)


def checked_seed(name: str, seed: Any) -> int:
    """Return a seed as Python's int; raise `UserError` for what is no whole number of 64 bits."""
    plain = of_kind(name, seed, int)
    if not SEED_LEAST <= plain <= SEED_MOST:
        raise UserError("a whole number of 64 bits", setting=name, value=seed)
    return int(plain)


def named(name: str, network: Any) -> str:
    """Return the name of a network as it is, and a class or function that makes one as ``module:callable``.

    Raises:
        UserError: it cannot be imported by that name, by which a stored set knows it; or it is anything else.
    """
    if isinstance(network, str):
        return network
    if not isinstance(network, type | FunctionType):
        raise UserError("a name, or a class or function of a module", setting=name, value=network)
    module, place = network.__module__, network.__qualname__
    try:
        found = attrgetter(place)(sys.modules[module])
    except (AttributeError, KeyError):
        found = None
    if found is not network or module == "__main__":
        said = "cannot be imported by its name, which a stored set goes by; put it at the top of a module of its own"
        raise UserError(said, setting=name, value=place)
    return f"{module}:{place}"


def _each_named(name: str, given: Any) -> list[Any]:
    return [named(name, one) for one in several(given)]


def several(given: Any) -> list[Any]:
    """Return what may be given as one or as several, as a list: text, paths and mappings are one."""
    plain = _plain(given)
    one = isinstance(plain, str | bytes | PathLike | Mapping) or not isinstance(plain, Iterable)
    return [plain] if one else list(plain)


def _path(name: str, value: Any) -> Any:
    if not isinstance(value, str | PathLike) or isinstance(fspath(value), bytes):
        raise UserError("a path, as text or a Path", setting=name, value=value)
    if name == "out" and PurePath(value).name in ("", ".."):
        raise UserError("name a file or folder of its own", setting=name, value=fspath(value))
    return value


def of_kind(name: str, value: Any, kind: type) -> Any:
    """Return a value as Python's own of this type; raise `UserError` for another."""
    plain = _plain(value)
    fits = isinstance(plain, kind) or (kind is float and isinstance(plain, int))
    if not fits or (isinstance(plain, bool) and kind is not bool):
        raise UserError(KINDS[kind], setting=name, value=value)
    return float(plain) if kind is float else plain


def checked_time_limit(limit: Any) -> float | None:
    """Return a time limit as seconds, None for none.

    Raises:
        UserError: for anything else.
    """
    seconds = _plain(limit)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise UserError("a number of seconds, at least 0", setting="time_limit", value=limit)
    return float(seconds)


def _plain(value: Any) -> Any:
    """Return Python's value of a scalar of NumPy or torch, and anything else as it is."""
    item: Callable[[], Any] | None = getattr(value, "item", None)
    if item is None or getattr(value, "shape", ()) != ():
        return value
    return item()


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "bool": functools.partial(of_kind, kind=bool),
    "int": functools.partial(of_kind, kind=int),
    "str": functools.partial(of_kind, kind=str),
    "str | Path": _path,
    "Architecture": named,
    "Architecture | Sequence[Architecture]": _each_named,
}


@functools.cache
def _types() -> dict[str, type]:
    return get_type_hints(Recipe)
