"""Settings of any kind go to TOML and come back."""

import datetime
import enum
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import tomlkit
import tyro
from hypothesis import given
from hypothesis import strategies as st

from conftest import fork, launch, make
from engine import limits, settings
from engine.plain import UNSET, changes, defaults, made, old_texts, plain, texts, without_none


class Norm(enum.Enum):
    BATCH = enum.auto()
    LAYER = (1, 2)


@dataclass(frozen=True)
class Adam:
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Decay:
    start: int | None = 3
    of: tuple[Norm, ...] = ()
    inner: Adam | None = None


@dataclass(frozen=True)
class Sgd:
    momentum: float = 0.9
    decay: Decay = Decay(start=7)


@dataclass(frozen=True)
class Every:
    """One setting of each kind, and None where the default is another."""

    steps: int = 3
    lr: float = 1.0
    fast: bool = True
    name: str = ""
    note: str | None = "a"
    seed: int | None = 3
    either: int | str = 3
    word: Literal["a", 2] = "a"
    norm: Norm = Norm.BATCH
    place: Path = Path("a")
    no_place: Path | None = Path("b")
    widths: tuple[int, ...] = (1, 2)
    pairs: tuple[tuple[int, str], ...] = ((1, "a"),)
    texts: list[str] = field(default_factory=lambda: ["a"])
    some: frozenset[str] = frozenset({"a"})
    shares: dict[str, float] = field(default_factory=lambda: {"a": 0.5})
    day: datetime.date = datetime.date(2020, 1, 1)
    adam: Adam = Adam((0.5, 0.5))
    decay: Decay | None = Decay()
    optimizer: Adam | Sgd = Sgd()
    other: Adam | Sgd | None = Adam()


NUMBERS = st.floats(allow_nan=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)  # TOML's own
# TOML has no lone surrogates
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(Path)
ADAM = st.builds(Adam, st.tuples(NUMBERS, NUMBERS))
NORMS = st.sampled_from(Norm)
DECAY = st.builds(Decay, st.none() | INTEGERS, st.lists(NORMS).map(tuple), st.none() | ADAM)
SGD = st.builds(Sgd, NUMBERS, DECAY)
EVERY = st.builds(
    Every,
    *(INTEGERS, NUMBERS, st.booleans(), TEXTS, st.none() | TEXTS, st.none() | INTEGERS),
    *(INTEGERS | TEXTS, st.sampled_from(["a", 2]), NORMS, PATHS, st.none() | PATHS),
    *(st.lists(INTEGERS).map(tuple), st.lists(st.tuples(INTEGERS, TEXTS)).map(tuple)),
    *(st.lists(TEXTS), st.frozensets(TEXTS), st.dictionaries(TEXTS, NUMBERS), st.dates()),
    *(ADAM, st.none() | DECAY, ADAM | SGD, st.none() | ADAM | SGD),
)


def to_toml(config: Any) -> str:
    kept, unset = without_none(plain(config))
    return tomlkit.dumps({**kept, UNSET: unset})


@given(EVERY, EVERY)
def test_settings_of_any_kind_come_back_whatever_the_defaults_are(
    config: Every, default: Every
) -> None:
    assert made(default, tomllib.loads(to_toml(config))) == (config, [])


def test_what_a_file_does_not_say_is_as_by_default() -> None:
    text = "lr = 2\n[decay.inner]\n[optimizer.decay]\nstart = 8\n[other]\ntype = 'Sgd'\n"
    found, wrong = made(Every(), tomllib.loads(text))
    expected = replace(
        Every(),
        lr=2.0,
        decay=Decay(inner=Adam()),
        optimizer=Sgd(decay=Decay(start=8)),
        other=Sgd(),
    )
    assert (found, wrong) == (expected, [])
    assert type(found.lr) is float


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps = '3'\nfast = 1", "steps: `3` is no int|fast: `1` is no bool"),
        ("lr = true", "lr: `True` is no float"),
        ("steps = 3.0", "steps: `3.0` is no int"),
        ("nope = 1\n[adam]\nx = 2", "adam: `x` is no setting|`nope` is no setting"),
        ("norm = 'GROUP'", "norm: `GROUP` is none of BATCH, LAYER"),
        ("norm = []", "norm: it is no Norm"),
        ("word = 'b'", "word: it is no Literal['a', 2]"),
        ("either = 2.5", "either: it is no int | str"),
        ("place = 3", "place: it is no Path"),
        ("widths = [1, 'a']", "widths[1]: `a` is no int"),
        ("widths = 1", "widths: it is no tuple[int, ...]"),
        ("adam = 1", "adam: it is no Adam"),
        (
            "[adam]\nbetas = [1.0]",
            "adam.betas: Not enough values in [1.0] to structure as tuple[float, float]",
        ),
        ("[optimizer]\ntype = 'Muon'", "optimizer: type `Muon` is none of Adam, Sgd"),
        ("optimizer = 'Adam'", "optimizer: it is no Adam | Sgd"),
        ("[optimizer]\ntype = 'Adam'\nmomentum = 1.0", "optimizer: `momentum` is no setting"),
        ("unset = ['steps']", "steps: `None` is no int"),
        ("unset = 1", "`unset` is no list of settings"),
        ("unset = [1]", "`unset` is no list of settings"),
        ("unset = ['nope.x']", "`unset` is no list of settings"),
    ],
)
def test_what_is_wrong_in_a_file_is_a_line_each(text: str, told: str) -> None:
    found, wrong = made(Every(), tomllib.loads(text))
    assert found == Every()
    assert "|".join(wrong) == told


def test_a_setting_is_the_same_text_in_each_process() -> None:
    """So that a run which goes on is not said to have other settings; sets have no order."""
    config = Every(some=frozenset("abcdefgh"), norm=Norm.LAYER)
    found = texts(config)
    assert found["some"] == str(list("abcdefgh"))
    assert (found["norm"], found["place"], found["lr"], found["fast"]) == (
        "LAYER",
        "a",
        "1.0",
        "True",
    )


@dataclass(frozen=True)
class Asked:
    """Some have no default."""

    data: Path
    steps: int = 3
    norm: Norm = Norm.BATCH
    skip: tuple[int | None, ...] = (1, None)


def test_what_has_no_default_is_asked_for_where_no_file_gives_it() -> None:
    asked = ["--data", "a"]
    for values, words in (({}, asked), ({"data": "a"}, []), ({"steps": 4}, asked)):
        default, wrong = made(defaults(Asked), values)
        assert wrong == []
        found = tyro.cli(Asked, default=default, args=words)
        assert found == Asked(Path("a"), steps=4 if "steps" in values else 3)
    with pytest.raises(SystemExit):
        tyro.cli(Asked, default=defaults(Asked), args=[])
    wrong = made(defaults(Asked), {"data": 3, "nope": 1})[1]
    assert wrong == ["data: it is no Path", "`nope` is no setting"]


def test_what_toml_cannot_say_is_written_as_text() -> None:
    """A run goes on without it; who reads the file is told."""
    config: Any = Asked(Path("a"))
    found = tomllib.loads(settings.to_toml(config))
    assert found == {"data": "a", "steps": 3, "norm": "BATCH", "skip": "[1, None]"}
    assert made(defaults(Asked), found)[1][0].startswith("skip[0]: ")


def test_settings_of_a_run_of_before_have_not_changed() -> None:
    before = old_texts(Every(norm=Norm.LAYER))
    assert (before["norm"], before["pairs"]) == ("Norm.LAYER", "((1, 'a'),)")
    assert texts(replace(Every(), lr=1)) == texts(Every())  # 1 is 1.0


def test_a_limit_may_be_of_one_of_several_dataclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "Config", Every)
    ranges = {"optimizer.momentum": (0, 0.5), "adam.nope": (0, 1), "seed": (5, 9)}
    monkeypatch.setattr(limits, "RANGES", ranges | {"decay.start": (0, 1)})
    config: Any = Every(optimizer=Adam(), decay=None, seed=None)
    gone = ("RANGES in config.py has `adam.nope`, which is no setting", "take its line out there")
    assert limits.out_of_range(config) == [gone]
    config = Every()
    assert limits.out_of_range(config) == [
        ("optimizer.momentum `0.9` is not in 0..0.5", "set --optimizer.momentum 0.9"),
        gone,
        ("seed `3` is not in 5..9", "set --seed 3"),
        ("decay.start `3` is not in 0..1", "set --decay.start 3"),
    ]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("1", "2", ["a 1 -> 2"]),
        ("{'b': 1, 'c': 'x'}", "{'b': 2, 'c': 'x'}", ["a.b 1 -> 2"]),
        ("{'b': {'c': 1, 'd': 2}}", "{'b': {'c': 3}}", ["a.b.c 1 -> 3", "a.b.d 2 -> unset"]),
        ("{'b': {'c': 1}}", "{'b': 3, 'd': [4]}", ["a.b {'c': 1} -> 3", "a.d unset -> [4]"]),
        ("None", "{'b': 1}", ["a None -> {'b': 1}"]),
        ("{'b': 1.0}", "{'b': inf}", ["a {'b': 1.0} -> {'b': inf}"]),  # which is no literal
        ("{", "{]", ["a { -> {]"]),
    ],
)
def test_a_setting_that_changed_is_a_line(before: str, now: str, told: list[str]) -> None:
    assert changes("a", before, now) == told


OWN = """
class Norm(Enum):
    BATCH = auto()
    LAYER = (1, 2)

@dataclass(frozen=True)
class Decay:
    start: int | None = 3
    widths: tuple[int, ...] = (1, 2)

@dataclass(frozen=True)
class Config:
"""
SETTINGS = """    norm: Norm = Norm.BATCH
    decay: Decay = Decay()
    late: Decay | None = None
    limit: float | None = 0.5

    def accumulate("""


def test_a_run_has_settings_of_a_team_s_own_and_goes_on_with_them(tmp_path: Path) -> None:
    project = make(tmp_path / "digits", "spawn", tracker="none")
    text = (project / "config.py").read_text()
    text = text.replace("\n@dataclass(frozen=True)\nclass Config:\n", OWN, 1)
    text = text.replace("    def accumulate(", SETTINGS, 1)
    text = text.replace(
        "RANGES = {\n", 'RANGES = {\n    "decay.widths": (1, 9), "limit": (0, 1),\n', 1
    )
    (project / "config.py").write_text("from enum import Enum, auto\n" + text)
    (project / "my.toml").write_text("norm = 'LAYER'\nunset = ['limit', 'decay.start']\n[late]\n")
    flags = ("--config", "my.toml", "--decay.widths", 3, 4, "--late.start", 5)
    few = ("--steps", 1, "--validate_every", 9)
    first = launch(project, *few, *flags, "--run_dir", tmp_path / "a", forked=True)
    assert first.status == 0, first.err
    saved = (tmp_path / "a/config.toml").read_text()
    found = tomllib.loads(saved)
    assert (found["norm"], found[UNSET]) == ("LAYER", ["decay.start", "limit"])
    assert (found["decay"], found["late"]) == ({"widths": [3, 4]}, {"start": 5, "widths": [1, 2]})
    again = ("--config", tmp_path / "a/config.toml", "--run_dir")
    assert launch(project, *again, tmp_path / "b", forked=True).status == 0
    assert (tmp_path / "b/config.toml").read_text() == saved
    changed = ("--steps", 2, "--decay.widths", 5, "--late.start", 6)
    on = launch(project, *again, tmp_path / "a", *changed, forked=True).out
    told = re.findall(r"goes on with other settings: (.*)", on)
    assert told == ["steps 1 -> 2", "decay.widths [3, 4] -> [5]", "late.start 5 -> 6"]
    assert fork(["python", "predict.py", "--run_dir", str(tmp_path / "a")], project).status == 0
    wrong = launch(project, "--decay.widths", 3, 10, "--limit", 2, forked=True)
    assert "error: decay.widths `10` is not in 1..9\nhint: set --decay.widths 1 2\n" in wrong.err
    assert "error: limit `2.0` is not in 0..1\n" in wrong.err
