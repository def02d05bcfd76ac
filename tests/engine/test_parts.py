"""What of a run has a state: that all of it goes on, and what does not is told or refused."""

import copy
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from config import Config
from engine import checksum, inference, replicas, storage
from engine.checkpoint import Parts, load, newest, save
from engine.settings import to_toml
from model import BEST, build_model

Make = Callable[[nn.Module, float], Any]  # (network, weight decay) -> its optimizer


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(run_dir=tmp_path / "run", width=2)


class Counting(torch.optim.Optimizer):
    """It keeps state in its groups, as ScheduleFree its counter and Prodigy its distance."""

    def __init__(self, params: Any, weight_decay: float) -> None:
        moving = {"k": 0, "moved": torch.zeros(())}
        super().__init__(params, {"lr": 0.1, "weight_decay": weight_decay, **moving})

    @torch.no_grad()
    def step(self, _: None = None) -> None:  # type: ignore[override]  # nobody gives a closure
        for group in self.param_groups:
            group["k"] += 1
            for weight in group["params"]:
                group["moved"] += weight.grad.abs().sum()
                slope = weight.grad + group["weight_decay"] * weight
                weight -= group["lr"] / group["k"] * slope / (1 + group["moved"])


def matrices(net: nn.Module) -> list[Tensor]:
    return [weight for weight in net.parameters() if weight.dim() == 2]


MADE: dict[str, Make] = {
    "AdamW": lambda net, decay: torch.optim.AdamW(net.parameters(), weight_decay=decay),
    "Adam": lambda net, decay: torch.optim.Adam(net.parameters(), weight_decay=decay),
    "SGD": lambda net, d: torch.optim.SGD(net.parameters(), momentum=0.9, weight_decay=d),
    "Adagrad": lambda net, decay: torch.optim.Adagrad(net.parameters(), weight_decay=decay),
    "Adafactor": lambda net, decay: torch.optim.Adafactor(net.parameters(), weight_decay=decay),
    "Muon": lambda net, decay: torch.optim.Muon(matrices(net), weight_decay=decay),
    "Counting": lambda net, decay: Counting(net.parameters(), decay),
}


def learn(net: nn.Module, optimizer: Any, steps: range) -> None:
    for step in steps:
        for number, weight in enumerate(net.parameters(), start=1):
            weight.grad = torch.sin(torch.arange(weight.numel()) + step * number).view_as(weight)
        optimizer.step()


def end(net: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in net.parameters()])


def saved(config: Config, make: Make, steps: int = 3) -> tuple[nn.Module, Any, Path]:
    """A run of some steps: network, optimizer, checkpoint."""
    torch.manual_seed(0)
    net = build_model(config)
    optimizer = make(net, 0.01)
    parts = Parts(net, optimizer)
    learn(net, optimizer, range(steps))
    save(steps, parts, config, {}, BEST, False)
    return net, optimizer, folder(config, steps)


def folder(config: Config, step: int) -> Path:
    return config.run_dir / "checkpoints" / f"step-{step:09d}"


def loaded(config: Config, make: Make, decay: float, path: Path) -> tuple[nn.Module, Any]:
    """Another start of a run, with other weights until it has read the checkpoint."""
    torch.manual_seed(1)
    net = build_model(config)
    optimizer = make(net, decay)
    load(path, Parts(net, optimizer), config)
    return net, optimizer


def without_records(path: Path) -> None:
    """Make a checkpoint one of an older version."""
    state = storage.read(path)
    torch.save({name: state[name] for name in ("model", "optimizer", "random")}, path / "state.pt")
    files = {"state.pt": checksum.size_and_crc32(path / "state.pt")}
    facts = storage.facts(path) | {"files": files}
    (path / "manifest.json").write_text(storage.manifest_text(facts))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", MADE)
def test_an_optimizer_s_state_is_the_checkpoint_s_and_its_settings_are_the_run_s(
    config: Config, name: str, old: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    make = MADE[name]
    for decay in (0.01, 5.0):
        net, optimizer, path = saved(config, make)
        if old:
            without_records(path)
        again, new = loaded(config, make, decay, path)
        # an older version does not tell what has moved in the groups of others' optimizers
        used = 0.01 if old and name == "Counting" else decay
        for group in optimizer.param_groups:
            group["weight_decay"] = used
        for one, its in ((net, optimizer), (again, new)):
            learn(one, its, range(3, 6))
        assert torch.equal(end(net), end(again))
        told = f"{config.run_dir} goes on with other settings: weight_decay 0.01 -> {used}\n"
        assert capsys.readouterr().out == (told if used != 0.01 else "")


def test_what_the_settings_tell_is_told_once(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, path = saved(config, MADE["AdamW"])
    now = replace(config, weight_decay=5, lr=0.1)
    newest(now, BEST)
    loaded(now, MADE["AdamW"], 5, path)
    assert capsys.readouterr().out == "".join(
        f"{config.run_dir} goes on with other settings: {line}\n"
        for line in ("lr 0.008 -> 0.1", "weight_decay 0.01 -> 5.0")
    )


def test_the_same_setting_of_another_kind_is_no_other(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(net: nn.Module, decay: float) -> Any:
        kinds: Any = {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.01, "eps": 1e-8}
        if decay:
            kinds |= {"lr": torch.tensor(1e-3), "betas": [0.9, 0.999], "foreach": False}
            kinds["weight_decay"] = torch.tensor(0.01)
        optimizer = torch.optim.AdamW(net.parameters())
        for group in optimizer.param_groups:
            group |= kinds
        return optimizer

    _, _, path = saved(config, lambda net, _: make(net, 0))
    loaded(config, make, 1, path)
    assert capsys.readouterr().out == ""


def groups(net: nn.Module, _: float) -> Any:
    found = [{"params": [weight]} for weight in net.parameters()]
    return torch.optim.AdamW(found)


def first(net: nn.Module, _: float) -> Any:
    return torch.optim.AdamW([*net.parameters()][:3])


def turned(net: nn.Module, _: float) -> Any:
    return torch.optim.AdamW([*net.parameters()][::-1])


class AdamW(Counting):
    """A namesake of torch's."""


ADAMW, SGD = "torch.optim.AdamW there, here ", "torch.optim.SGD there, here "


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (MADE["AdamW"], MADE["SGD"], f"{ADAMW}torch.optim.SGD"),
        (MADE["AdamW"], MADE["Adam"], f"{ADAMW}torch.optim.Adam"),
        (MADE["SGD"], MADE["Muon"], f"{SGD}torch.optim.Muon"),
        (MADE["SGD"], MADE["Counting"], f"{SGD}Counting"),
        (MADE["AdamW"], lambda net, _: AdamW(net.parameters(), 0), f"{ADAMW}AdamW"),
        (MADE["AdamW"], groups, "groups of [8] weights there, here [1, 1, 1, 1, 1, 1, 1, 1]"),
        (MADE["AdamW"], first, "groups of [8] weights there, here [3]"),
        (MADE["AdamW"], turned, "a weight of group 0 is [2, 1, 3, 3] there, here [10]"),
        (
            MADE["AdamW"],
            lambda net, decay: {"one": MADE["AdamW"](net, decay)},
            "`optimizer` there, here `one`",
        ),
    ],
)
def test_another_optimizer_is_refused_or_begins_anew(
    config: Config, before: Make, now: Make, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net, _, path = saved(config, before)
    random = torch.rand(())
    with pytest.raises(SystemExit) as caught:
        loaded(config, now, 0, path)
    assert caught.value.code == 2
    fact, remedy = capsys.readouterr().err.splitlines()
    assert fact == f"error: {path} is of another optimizer: {why}"
    assert remedy.startswith("hint: set --fresh_optimizer ")
    again, optimizer = loaded(replace(config, fresh_optimizer=True), now, 0, path)
    optimizer = optimizer["one"] if isinstance(optimizer, dict) else optimizer
    assert torch.rand(()) == random  # as it was saved
    assert torch.equal(end(net), end(again))
    assert not optimizer.state
    assert capsys.readouterr().out == f"{config.run_dir} goes on with a new optimizer\n"


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        ("AdamW", MADE["SGD"], "one with `amsgrad` there, here torch.optim.SGD"),
        ("SGD", MADE["Muon"], "one with `dampening` there, here torch.optim.Muon"),
        ("AdamW", first, "groups of [8] weights there, here [3]"),
    ],
)
def test_another_one_than_an_older_version_has_saved_is_refused(
    config: Config, before: str, now: Make, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, path = saved(config, MADE[before])
    without_records(path)
    with pytest.raises(SystemExit):
        loaded(config, now, 0, path)
    assert f"is of another optimizer: {why}\nhint: " in capsys.readouterr().err


def test_one_that_cannot_load_its_state_says_so_in_two_lines(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, path = saved(config, MADE["AdamW"])

    def fail(*_: object) -> None:
        raise KeyError("momentum")

    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", fail)
    with pytest.raises(SystemExit):
        loaded(config, MADE["AdamW"], 0, path)
    fact = f"{path} is of another optimizer: KeyError: 'momentum'"
    assert capsys.readouterr().err.startswith(f"error: {fact}\nhint: set --fresh_optimizer ")


def test_one_that_is_asked_for_the_loss_again_goes_on(config: Config) -> None:
    """LBFGS has lists in its state, and a step that needs a function."""

    def steps(net: nn.Module, optimizer: Any, number: int) -> None:
        def loss() -> Tensor:
            optimizer.zero_grad()
            squares: Tensor = net(torch.ones(2, 1, 8, 8)).square().sum()
            squares.backward()
            return squares

        for _ in range(number):
            optimizer.step(loss)

    def make(net: nn.Module, _: float) -> Any:
        return torch.optim.LBFGS(net.parameters(), max_iter=3)

    torch.manual_seed(0)
    net = build_model(config)
    optimizer = make(net, 0)
    parts = Parts(net, optimizer)
    steps(net, optimizer, 2)
    save(2, parts, config, {}, BEST, False)
    again, new = loaded(config, make, 0, folder(config, 2))
    for one, its in ((net, optimizer), (again, new)):
        steps(one, its, 2)
    assert torch.equal(end(net), end(again))


class Notes:
    """A state that is no network's, and grows."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"seen": [torch.zeros(2)], "level": 0, "kind": torch.float32}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def adversaries(config: Config, seed: int) -> tuple[list[Any], Parts]:
    """Two networks, an optimizer of each, an average of one's weights, a schedule, and notes."""
    torch.manual_seed(seed)
    net, critic = build_model(config), build_model(config)
    optimizers = {"net": MADE["AdamW"](net, 0.01), "critic": MADE["SGD"](critic, 0.01)}
    ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    warm_up = torch.optim.lr_scheduler.OneCycleLR(optimizers["critic"], 0.1, total_steps=20)
    notes = Notes()
    parts = Parts(net, optimizers, critic=critic, ema=ema, warm_up=warm_up, notes=notes)
    return [net, critic, optimizers, ema, warm_up, notes], parts


def test_a_schedule_with_milestones_goes_on(config: Config) -> None:
    """Torch keeps these in a Counter, which it reads again without running code."""

    def parts() -> tuple[Parts, torch.optim.lr_scheduler.MultiStepLR]:
        net = build_model(config)
        optimizer = MADE["SGD"](net, 0.01)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 1, 3])
        return Parts(net, optimizer, schedule=schedule), schedule

    before, stepped = parts()
    stepped.optimizer.step()
    stepped.step()
    beside = replace(config, async_save=True)
    save(1, before, beside, {}, BEST, True)
    after, schedule = parts()
    load(folder(config, 1), after, config)
    assert schedule.state_dict() == stepped.state_dict()
    assert type(schedule.milestones) is type(stepped.milestones)


def play(made: list[Any], steps: range) -> None:
    net, critic, optimizers, ema, warm_up, notes = made
    for step in steps:
        learn(critic, optimizers["critic"], range(step, step + 1))
        learn(net, optimizers["net"], range(step, step + 1))
        ema.update_parameters(net)
        warm_up.step()
        notes.state["level"] += 1
        notes.state["seen"].append(end(critic)[:2].clone())
        notes.state["seen"][0] += 1


@pytest.mark.parametrize("beside", [False, True], ids=["at once", "beside the training"])
def test_networks_optimizers_and_all_else_go_on_bit_for_bit(
    config: Config,
    beside: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write, gone_on = storage.write, threading.Event()

    def late(*state: Any) -> None:
        assert not beside or gone_on.wait(60)
        write(*state)

    monkeypatch.setattr(storage, "write", late)
    made, parts = adversaries(config, 0)
    play(made, range(3))
    save(3, parts, replace(config, async_save=beside), {}, BEST, False)
    play(made, range(3, 6))
    gone_on.set()
    save(6, parts, config, {}, BEST, True)
    made, parts = adversaries(config, 1)
    load(folder(config, 3), parts, config)
    play(made, range(3, 6))
    ended = storage.read(folder(config, 6))
    for name, part in parts.state().items():
        assert replicas.checksum(part) == replicas.checksum(ended[name]), name
    assert capsys.readouterr().out == ""


def test_the_settings_of_each_are_told_with_its_name(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    save(1, adversaries(config, 0)[1], config, {}, BEST, False)
    made, _ = adversaries(config, 1)
    made[2]["critic"].param_groups[0]["momentum"] = 0.5
    net, critic, optimizers, *_ = made
    load(folder(config, 1), Parts(net, optimizers, critic=critic), config)
    told = capsys.readouterr().out.splitlines()
    assert [line.removeprefix(f"{config.run_dir} goes on with") for line in told] == [
        *(f"out `{name}`, which {folder(config, 1)} has" for name in ("ema", "warm_up", "notes")),
        " other settings: momentum 0.95 -> 0.5 of critic",
    ]


def test_a_part_that_came_later_begins_and_says_so(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    net, optimizer, path = saved(config, MADE["AdamW"])
    notes = Notes()
    load(path, Parts(net, optimizer, notes=notes), config)
    told = f"{config.run_dir} goes on with a new `notes`: {path} has none\n"
    assert (capsys.readouterr().out, notes.state["level"]) == (told, 0)


def test_a_part_that_is_another_is_refused_in_two_lines(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    net, optimizer, _ = saved(config, MADE["AdamW"])
    save(4, Parts(net, optimizer, notes=Notes(), tail=nn.Linear(2, 2)), config, {}, BEST, False)

    class Other(Notes):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.state = {"width": state["width"]}

    tail = nn.Linear(2, 3)
    for parts, why in (
        (Parts(net, optimizer, notes=Other()), "`notes`: KeyError: 'width'"),
        (Parts(net, optimizer, tail=tail), "`tail`, 2 tensors: `weight` [2, 2], here [3, 2]; "),
    ):
        with pytest.raises(SystemExit):
            load(folder(config, 4), parts, config)
        err = capsys.readouterr().err
        assert err.startswith(f"error: {folder(config, 4)} has another {why}")
        assert "\nhint: give it another name in train.py " in err


def notes_with(state: Any) -> Notes:
    notes = Notes()
    notes.state = state
    return notes


@pytest.mark.parametrize(
    ("part", "fact"),
    [
        ({"model": Notes()}, "no part may be named `model`"),
        ({"net": Notes()}, "no part may be named `net`"),
        ({"ema": 0.9}, "the part `ema` has no state_dict"),
        ({"queue": deque([1])}, "the part `queue` has no state_dict"),
        ({"other": torch.optim.SGD([torch.ones(1)])}, "the part `other` is an optimizer"),
        (
            {"queue": notes_with({"rows": deque([1])})},
            "the state of `queue` holds more than tensors, numbers and texts",
        ),
        ({"rows": notes_with(torch.ones(2).numpy())}, "the state of `rows` holds more than"),
        ({"tail": nn.LazyLinear(2)}, "`tail.weight` has no size yet"),
        ({"words": nn.Embedding(2, 2, sparse=True)}, "`words` (Embedding) has sparse gradients"),
    ],
)
def test_what_no_checkpoint_could_hold_is_refused_before_the_first_step(
    config: Config, part: dict[str, Any], fact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net = build_model(config)
    with pytest.raises(SystemExit) as caught:
        Parts(net, MADE["AdamW"](net, 0), **part)
    assert caught.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"error: {fact}")
    assert [line.split()[0] for line in told] == ["error:", "hint:"] * (len(told) // 2)


def test_weights_that_are_trained_and_not_saved_are_refused(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    net, critic = build_model(config), build_model(config)
    both = {"net": MADE["AdamW"](net, 0), "critic": MADE["AdamW"](critic, 0)}
    with pytest.raises(SystemExit):
        Parts(net, both)
    fact, remedy = capsys.readouterr().err.splitlines()
    assert fact == "error: `critic` trains 8 weights that no checkpoint would hold"
    assert "Parts(net, optimizer, " in remedy
    Parts(net, both, critic=critic)


def test_a_state_that_becomes_unreadable_is_not_saved(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    net, optimizer, path = saved(config, MADE["AdamW"])
    parts, weight = Parts(net, optimizer), next(net.parameters())
    optimizer.state[weight]["last"] = deque([1])
    with pytest.raises(SystemExit) as caught:
        save(4, parts, config, {}, BEST, False)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("error: the state of `optimizer` holds more than ")
    assert not folder(config, 4).exists()
    assert path.exists()


@pytest.mark.parametrize("average", [copy.deepcopy, AveragedModel])
def test_a_program_may_use_an_average_of_the_weights(
    config: Config, average: Callable[[nn.Module], nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    net, optimizer, _ = saved(config, MADE["AdamW"])
    ema = average(net)
    learn(net, optimizer, range(3, 5))
    save(4, Parts(net, optimizer, ema=ema), config, {}, BEST, False)
    (config.run_dir / "config.toml").write_text(to_toml(config))
    cpu = torch.device("cpu")
    assert torch.equal(end(inference.load(build_model, BEST, config.run_dir, cpu)[0]), end(net))
    found, _, _ = inference.load(build_model, BEST, config.run_dir, cpu, part="ema")
    assert torch.equal(end(found), end(ema))
    assert not torch.equal(end(ema), end(net))
    with pytest.raises(SystemExit):
        inference.load(build_model, BEST, config.run_dir, cpu, part="emma")
    fact = f"error: {folder(config, 4)} has no part `emma`\nhint: "
    assert capsys.readouterr().err.startswith(fact)
