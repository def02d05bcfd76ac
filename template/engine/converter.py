"""How cattrs takes values from TOML: strictly, enums by name, a choice of dataclasses by `type`."""

import datetime
import enum
from collections.abc import Callable, Set
from dataclasses import is_dataclass
from typing import Any, get_args

from cattrs import Converter
from cattrs.strategies import configure_union_passthrough

TYPE = "type"


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
    return lambda value: value and {TYPE: type(value).__name__} | CONVERTER.unstructure(value)


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
