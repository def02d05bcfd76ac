"""Settings of any kind in plain values, as TOML has them, and back.

An enum is its member's name, as on the command line; of a choice of dataclasses the table says its
`type`. None has no word in TOML: what is None stands in a list of names, `unset`.
"""

import datetime
import enum
import re
from collections.abc import Callable, Set
from dataclasses import is_dataclass
from functools import reduce
from typing import Any, TypeVar, get_args

from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from cattrs.strategies import configure_union_passthrough

TYPE = "type"
UNSET = "unset"
Plain = dict[str, Any]
Settings = TypeVar("Settings")


class Wrong(ValueError):
    """A value that a setting cannot have, in the words of this file."""


def strict(*kinds: type) -> Callable[[Any, Any], Any]:
    """What takes a value of these kinds alone, as one of the first: int("7") would take text."""

    def taken(value: Any, _: Any) -> Any:
        if type(value) not in kinds:
            raise Wrong(f"`{value}` is no {kinds[0].__name__}")
        return kinds[0](value) if len(kinds) > 1 else value

    return taken


def member(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    if value not in kind.__members__:
        raise Wrong(f"`{value}` is none of {', '.join(kind.__members__)}")
    return kind[value]


def choices(kind: Any) -> dict[str, type]:
    """The dataclasses that a setting may be one of, where there are several."""
    found = [part for part in get_args(kind) if isinstance(part, type) and is_dataclass(part)]
    return {part.__name__: part for part in found} if len(found) > 1 else {}


def to_choice(kind: Any) -> Callable[[Any, Any], Any]:
    def chosen(value: Any, _: Any) -> Any:
        if value is None:
            return None
        name, of = value.get(TYPE), choices(kind)
        if name not in of:
            raise Wrong(f"{TYPE} `{name}` is none of {', '.join(of)}")
        return CONVERTER.structure({k: v for k, v in value.items() if k != TYPE}, of[name])

    return chosen


def from_choice(_: Any) -> Callable[[Any], Any]:
    return lambda value: value and {TYPE: type(value).__name__} | plain(value)


CONVERTER = Converter(
    forbid_extra_keys=True,
    unstruct_collection_overrides={Set: lambda values: sorted(values, key=str)},
)
for kind in (bool, int, str, datetime.datetime, datetime.date, datetime.time):
    CONVERTER.register_structure_hook(kind, strict(kind))
CONVERTER.register_structure_hook(float, strict(float, int))
CONVERTER.register_structure_hook(enum.Enum, member)
CONVERTER.register_unstructure_hook(enum.Enum, lambda value: value.name)
CONVERTER.register_structure_hook_factory(lambda kind: bool(choices(kind)), to_choice)
CONVERTER.register_unstructure_hook_factory(lambda kind: bool(choices(kind)), from_choice)
configure_union_passthrough(bool | int | float | str | None, CONVERTER)


def plain(config: Any) -> Plain:
    """A dataclass in plain values, with None where it is None."""
    found: Plain = CONVERTER.unstructure(config)
    return found


def texts(config: Any) -> dict[str, str]:
    """Each setting as text, the same in each process."""
    return {name: str(value) for name, value in plain(config).items()}


def without_none(values: Plain, path: str = "") -> tuple[Plain, list[str]]:
    """The same without what is None, and the names of that."""
    kept, unset = Plain(), list[str]()
    for name, value in values.items():
        if value is None:
            unset.append(path + name)
        elif isinstance(value, dict):
            kept[name], more = without_none(value, f"{path}{name}.")
            unset += more
        else:
            kept[name] = value
    return kept, unset


def over(default: Any, values: Plain) -> Plain:
    """Plain values with those of a dataclass where they say nothing."""
    found = plain(default)
    for name, value in values.items():
        before = getattr(default, name, None)
        same = is_dataclass(before) and isinstance(value, dict)
        if same and value.get(TYPE, found[name].get(TYPE)) == found[name].get(TYPE):
            value = found[name] | over(before, value)
        found[name] = value
    return found


def made(default: Settings, values: Plain) -> tuple[Settings, list[str]]:
    """(a dataclass with these values, with the default's for all others; what is wrong with them).

    What is wrong: a line each, and then the default is given.
    """
    merged = over(default, {name: value for name, value in values.items() if name != UNSET})
    try:
        for path in values.get(UNSET, []):
            *tables, name = path.split(".")
            reduce(dict.__getitem__, tables, merged)[name] = None
        return CONVERTER.structure(merged, type(default)), []
    except (KeyError, TypeError, AttributeError):  # no list, no text, or no such table
        return default, [f"`{UNSET}` is no list of settings"]
    except BaseValidationError as error:
        return default, [
            line(*told.rsplit(" @ $", 1)) for told in transform_error(error, "$", said)
        ]


def said(error: BaseException, kind: Any) -> str:
    """What is wrong with one value, or with the names in a table."""
    if isinstance(error, ForbiddenExtraKeysError):
        return f"`{', '.join(sorted(error.extra_fields))}` is no setting"
    if isinstance(error, Wrong) or kind is None:
        return str(error)
    name = kind.__name__ if isinstance(kind, type) else re.sub(r"\b(\w+\.)+", "", str(kind))
    return f"it is no {name}"


def line(what: str, place: str) -> str:
    return f"{place.removeprefix('.')}: {what}" if place else what
