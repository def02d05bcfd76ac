"""Settings of any kind in plain values, as TOML has them, and back.

An enum is its member's name, as on the command line; of a choice of dataclasses the table says its
`type`. None has no word in TOML: what is None stands in a list of names, `unset`.
"""

import re
from ast import literal_eval
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, is_dataclass, make_dataclass
from functools import reduce
from typing import Any, TypeVar, get_type_hints

import tyro
from cattrs import transform_error
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from engine.converter import CONVERTER, TYPE, Wrong

UNSET = "unset"
Plain = dict[str, Any]
Settings = TypeVar("Settings")


def defaults(kind: type[Settings]) -> Settings:
    """The settings as they are by default; for one without a default tyro asks."""
    return kind(
        **{
            field.name: tyro.MISSING
            for field in fields(kind)  # type: ignore[arg-type]  # it is a dataclass
            if field.default is MISSING and field.default_factory is MISSING
        }
    )


def plain(config: Any) -> Plain:
    """A dataclass in plain values, with None where it is None; without what tyro asks for."""
    kinds = get_type_hints(type(config))
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {
        name: CONVERTER.unstructure(value, kinds[name])
        for name, value in values.items()
        if value is not tyro.MISSING
    }


def texts(config: Any) -> dict[str, str]:
    """Each setting as text, the same in each process, and for 1 as for 1.0 where it is a float."""
    return {name: str(value) for name, value in plain(made(config, {})[0]).items()}


def old_texts(config: Any) -> dict[str, str]:
    """The same as up to 0.7.0."""
    return {name: str(value) for name, value in asdict(config).items()}


def changes(name: str, before: str, now: str) -> list[str]:
    """How the text of a setting has changed, as `name before -> now`: a line each of a table."""
    pair: list[Any] = [before, now]
    with suppress(ValueError, SyntaxError):  # whatever is no table is told as it is
        pair = [literal_eval(text) if text.startswith("{") else text for text in pair]
    return list(differing(name, *pair))


def differing(name: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from differing(f"{name}.{key}", before.get(key, UNSET), now.get(key, UNSET))
    elif before != now:
        yield f"{name} {before} -> {now}"


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
        return structured(merged, type(default)), []
    except (KeyError, TypeError, AttributeError):  # no list, no text, or no such table
        return default, [f"`{UNSET}` is no list of settings"]
    except BaseValidationError as error:
        return default, [
            line(*told.rsplit(" @ $", 1)) for told in transform_error(error, "$", said)
        ]


def structured(values: Plain, kind: type[Settings]) -> Settings:
    """A dataclass of plain values; tyro asks for what is not among them."""
    kinds = get_type_hints(kind)
    if kinds.keys() <= values.keys():
        return CONVERTER.structure(values, kind)
    there = make_dataclass(kind.__name__, [one for one in kinds.items() if one[0] in values])
    found: Any = CONVERTER.structure(values, there)
    return kind(**{name: getattr(found, name, tyro.MISSING) for name in kinds})


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
