"""A checkpoint is whole or it is not used."""

import errno
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from config import Config
from engine import checkpoint, checksum, retention, run_dir, run_state, storage
from model import BEST, build_model
from optimizer import build_optimizer

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings of a run whose directory holds checkpoints of the steps 1, 2 and 3."""
    config = Config(run_dir=tmp_path)
    torch.manual_seed(0)
    net = build_model(config)
    optimizer = build_optimizer(net, config)
    for step in (1, 2, 3):
        checkpoint.save(step, checkpoint.Parts(net, optimizer), config, {}, BEST, False)
    return config


ACCURATE = "accuracy", "high"


@pytest.mark.parametrize("by", [ACCURATE, ("error", "low")])
def test_the_best_is_that_of_the_metric_asked_for(config: Config, by: tuple[str, str]) -> None:
    """Whatever was best when they were saved; without such a metric the newest."""
    net = build_model(config)
    values = [(4, 0.5, 0.7), (5, 0.1, 0.9), (6, 0.2, 0.8), (7, 0.3, 0.75), (8, 0.4, math.nan)]
    for step, loss, accuracy in values:
        validation = {"loss": loss, "accuracy": accuracy, "error": 1 - accuracy}
        parts = checkpoint.Parts(net, build_optimizer(net, config))
        checkpoint.save(step, parts, config, validation, by, False)
    assert names(config) == [5, 7, 8]
    score = -0.9 if by == ACCURATE else pytest.approx(0.1)
    assert checkpoint.newest(config, by) == (8, folder(config, 8), score)
    assert retention.best(config.run_dir, by) == folder(config, 5)
    assert retention.best(config.run_dir, (by[0], "high")) == folder(
        config, 5 if by[1] == "high" else 7
    )
    assert retention.best(config.run_dir, ("other", "low")) == folder(config, 8)
    assert checkpoint.newest(config, ("other", "low"))[2] == math.inf


def test_a_checkpoint_of_an_earlier_version_counts_for_the_loss_alone(config: Config) -> None:
    """And its readers find the loss of a new one where it was."""
    for step, loss in ((4, 0.5), (5, 0.25), (6, 0.75)):
        save(config, step, loss)
        manifest = storage.facts(folder(config, step))
        assert (manifest["format"], manifest["val_loss"]) == (1, loss)
        path = folder(config, step) / "manifest.json"
        old = {name: value for name, value in manifest.items() if name != "validation"}
        path.write_text(storage.manifest_text(old))
    assert retention.best(config.run_dir, BEST) == folder(config, 5)
    assert checkpoint.newest(config, BEST) == (6, folder(config, 6), 0.25)
    assert retention.best(config.run_dir, ACCURATE) == folder(config, 6)
    assert checkpoint.newest(config, ACCURATE)[2] == math.inf


@pytest.mark.parametrize("best", ["loss", ("loss",), ("loss", "lowest"), None, ("low", "loss")])
def test_what_does_not_say_which_is_best_is_refused_before_the_first_step(
    best: Any, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        checkpoint.newest(config, best)
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: BEST in model.py is `{best}`, and not ")
    assert hint.startswith('hint: write BEST = "loss", "low" there, or ')


def names(config: Config) -> list[int]:
    """The steps that have checkpoints."""
    return [step for step, _ in retention.steps(config.run_dir / "checkpoints")]


def folder(config: Config, step: int) -> Path:
    return config.run_dir / "checkpoints" / f"step-{step:09d}"


def newest(config: Config) -> tuple[int, Path | None]:
    return checkpoint.newest(config, BEST)[:2]


def save(config: Config, step: int, val_loss: float | None = None) -> None:
    net, validation = build_model(config), {} if val_loss is None else {"loss": val_loss}
    parts = checkpoint.Parts(net, build_optimizer(net, config))
    checkpoint.save(step, parts, config, validation, BEST, False)


def test_the_last_two_are_kept_and_the_newest_is_found(config: Config) -> None:
    assert sorted((config.run_dir / "checkpoints").iterdir()) == [
        folder(config, 2),
        folder(config, 3),
    ]
    assert newest(config) == (3, folder(config, 3))


def harm(path: Path, kind: str) -> None:
    state, manifest = path / "state.pt", path / "manifest.json"
    content = state.read_bytes()
    match kind:
        case "turned bit":
            state.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
        case "cut":
            state.write_bytes(content[:-1])
        case "no state":
            state.unlink()
        case "no manifest":
            manifest.unlink()
        case "half a manifest":
            manifest.write_text(manifest.read_text()[:40])
        case "empty":
            shutil.rmtree(path)
            path.mkdir()


@pytest.mark.parametrize(
    "kind", ["turned bit", "cut", "no state", "no manifest", "half a manifest", "empty"]
)
def test_a_damaged_one_is_skipped_with_its_reason(
    config: Config, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(folder(config, 3), kind)
    assert newest(config) == (2, folder(config, 2))
    assert f"skipped checkpoint {folder(config, 3)}: " in capsys.readouterr().err


def test_a_damaged_one_of_a_later_step_pushes_no_good_one_out(config: Config) -> None:
    for step in (2, 3):
        (folder(config, step) / "state.pt").unlink()
    save(config, 1)
    assert newest(config) == (1, folder(config, 1))


@pytest.mark.parametrize("again", [False, True], ids=["meanwhile", "before the start"])
@pytest.mark.parametrize("kind", ["turned bit", "cut", "no state", "no manifest"])
def test_a_damaged_one_counts_neither_among_the_newest_nor_as_the_best(
    config: Config, kind: str, again: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes when as many whole ones are there as are kept, and no whole one before it."""
    for step, val_loss in ((4, 0.5), (5, 0.1), (6, 0.9)):
        save(replace(config, keep=3), step, val_loss)
    for step in (5, 6):
        harm(folder(config, step), kind)
    if again:
        retention.known.clear()
        assert checkpoint.newest(config, BEST) == (4, folder(config, 4), 0.5)
    save(replace(config, keep=3), 7, 0.7)
    kept = [step for step, _ in retention.steps(config.run_dir / "checkpoints")]
    assert kept == [4, 6, 7]  # of the damaged ones the newest has a place that no whole one needs
    assert f"removes checkpoint {folder(config, 5)}: " in capsys.readouterr().err
    assert retention.best(config.run_dir, BEST) == folder(config, 4)
    for step in (8, 9, 10):
        save(replace(config, keep=3), step, 0.8)
    kept = [step for step, _ in retention.steps(config.run_dir / "checkpoints")]
    assert kept == [4, 8, 9, 10]


def test_what_is_out_of_reach_or_of_a_newer_format_stays_and_counts_for_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell whether it is whole; and a save that is done does not fail by it."""
    path = folder(config, 2) / "manifest.json"
    path.write_text(storage.manifest_text(json.loads(path.read_text()) | {"format": 2}))
    retention.known.clear()
    size_and_crc32 = checksum.size_and_crc32

    def unreachable(path: Path) -> list[int]:
        if path.parent == folder(config, 3):
            raise OSError(errno.EACCES, "Permission denied")
        return size_and_crc32(path)

    monkeypatch.setattr(storage, "size_and_crc32", unreachable)
    for step in (4, 5, 6, 7):
        save(config, step, 0.5)
    kept = [step for step, _ in retention.steps(config.run_dir / "checkpoints")]
    assert kept == [2, 3, 6, 7]


def test_each_is_read_once_however_many_saves_there_are(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    size_and_crc32 = checksum.size_and_crc32

    def counted(path: Path) -> list[int]:
        read.append(path.parent)
        return size_and_crc32(path)

    monkeypatch.setattr(storage, "size_and_crc32", counted)
    save(config, 4, 0.5)
    assert read == []  # this process has written them all
    retention.known.clear()
    checkpoint.newest(config, BEST)
    for step in (5, 6, 7):
        save(config, step, 0.7)
    assert sorted(read) == [folder(config, 3), folder(config, 4)]


def test_other_folders_beside_them_are_left_alone(config: Config) -> None:
    copy = folder(config, 3).with_name("step-000000003-good")
    shutil.copytree(folder(config, 3), copy)
    assert newest(config)[0] == 3
    save(config, 4)
    assert copy.exists()


def test_one_of_a_newer_format_is_refused(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """To go on from an older one would overwrite it."""
    path = folder(config, 3) / "manifest.json"
    path.write_text(storage.manifest_text(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(SystemExit):
        newest(config)
    assert f"error: {folder(config, 3)} is of a newer format" in capsys.readouterr().err
    assert retention.best(config.run_dir, BEST) == folder(config, 2)


def test_what_a_killed_writer_left_is_not_read_and_goes(config: Config) -> None:
    left = config.run_dir / "checkpoints/.step-000000004.tmp"
    left.mkdir()
    (left / "state.pt").write_bytes(b"half")
    assert newest(config)[0] == 3
    save(config, 4)
    assert not left.exists()
    assert newest(config)[0] == 4


def test_it_holds_the_bare_network(config: Config) -> None:
    state = torch.load(folder(config, 3) / "state.pt", weights_only=True)
    assert state["model"].keys() == build_model(config).state_dict().keys()
    assert len(state["random"]) == 1


def test_another_network_is_refused_in_two_lines(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    net = build_model(replace(config, width=8))
    with pytest.raises(SystemExit) as caught:
        checkpoint.load(
            folder(config, 3), checkpoint.Parts(net, build_optimizer(net, config)), config
        )
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert re.search(r"is of another network, \d+ tensors: `\d.weight` \[.*\], here \[.*\]; ", err)
    assert "\nhint: set --run_dir" in err


def test_a_new_run_has_none(tmp_path: Path) -> None:
    assert checkpoint.newest(Config(run_dir=tmp_path / "new"), BEST) == (0, None, float("inf"))


def test_the_best_stays_beside_the_newest_and_its_loss_is_known_after_a_start(
    config: Config,
) -> None:
    for step, val_loss in ((4, 0.5), (5, 0.25), (6, None), (7, float("nan")), (8, 0.75)):
        save(config, step, val_loss)
    names = [path.name for path in sorted((config.run_dir / "checkpoints").iterdir())]
    assert names == [f"step-{step:09d}" for step in (5, 7, 8)]
    assert checkpoint.newest(config, BEST) == (8, folder(config, 8), 0.25)
    assert retention.best(config.run_dir, BEST) == folder(config, 5)
    # what was best later than the checkpoint that a run goes on from will be found again
    (folder(config, 8) / "state.pt").unlink()
    (folder(config, 7) / "state.pt").unlink()
    assert checkpoint.newest(config, BEST) == (5, folder(config, 5), 0.25)
    # and where the best is damaged, the newest without a loss is what is left
    (folder(config, 5) / "state.pt").unlink()
    with pytest.raises(SystemExit):
        retention.best(config.run_dir, BEST)
    save(config, 9)
    assert retention.best(config.run_dir, BEST) == folder(config, 9)


def test_as_many_are_kept_as_the_settings_say(config: Config) -> None:
    for step in range(4, 9):
        save(replace(config, keep=4), step)
    assert [step for step, _ in retention.steps(config.run_dir / "checkpoints")] == [5, 6, 7, 8]


def test_what_the_disk_refuses_ends_the_run_in_two_lines_and_loses_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "sync", refuse)
    with pytest.raises(SystemExit) as caught:
        save(config, 4)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot save step 4 in ")
    assert "No space left on device, disk `" in error
    assert "free)\nhint: " in error
    assert newest(config) == (3, folder(config, 3))


@pytest.mark.parametrize("taken", [False, True])
def test_in_a_run_directory_that_was_moved_nothing_is_saved(
    taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new folder in its old place would hold half of a run, or of two runs."""
    monkeypatch.setattr(run_state, "held", [])
    place, config = tmp_path / "run", Config(run_dir=tmp_path / "run")
    run_dir.take(place)
    save(config, 1)
    place.rename(tmp_path / "moved")
    if taken:
        shutil.copytree(tmp_path / "moved", place)
        (place / run_state.FILE).write_text('{"state": "running", "pid": 1}')
    with pytest.raises(SystemExit):
        save(config, 2)
    why = "another run has taken it" if taken else "it was moved or removed while the run was alive"
    assert capsys.readouterr().err.startswith(f"error: cannot save in {place}: {why}\nhint: ")
    assert not (place / "checkpoints/step-000000002").exists()


def test_settings_that_changed_are_told(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.newest(replace(config, lr=0.5, devices=7), BEST)
    out = capsys.readouterr().out
    assert out == f"{config.run_dir} goes on with other settings: lr 0.008 -> 0.5\n"


def test_what_is_written_beside_the_training_is_the_state_of_its_step(config: Config) -> None:
    net = build_model(config)
    optimizer = build_optimizer(net, config)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    beside = replace(config, async_save=True)
    checkpoint.save(4, checkpoint.Parts(net, optimizer), beside, {}, BEST, False)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    checkpoint.save(5, checkpoint.Parts(net, optimizer), beside, {}, BEST, True)
    saved = storage.read(folder(config, 4))["model"]
    assert all(torch.equal(saved[name], tensor) for name, tensor in before.items())
    assert newest(config) == (5, folder(config, 5))


def test_a_disk_that_refuses_beside_the_training_ends_it_at_the_next_save(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = build_model(config)
    optimizer = build_optimizer(net, config)

    def refuse(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(storage, "write", refuse)
    beside = replace(config, async_save=True)
    checkpoint.save(4, checkpoint.Parts(net, optimizer), beside, {}, BEST, False)
    with pytest.raises(SystemExit):
        checkpoint.save(5, checkpoint.Parts(net, optimizer), beside, {}, BEST, False)
    assert "error: cannot save step 4 in " in capsys.readouterr().err
    assert newest(config)[0] == 3


def test_a_file_with_code_in_it_is_not_loaded(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "harmed",)  # type: ignore[return-value]

    path = folder(config, 3) / "state.pt"
    torch.save({"model": Harm()}, path)
    manifest = storage.facts(folder(config, 3))
    manifest["files"] = {"state.pt": checksum.size_and_crc32(path)}
    (folder(config, 3) / "manifest.json").write_text(storage.manifest_text(manifest))
    net = build_model(config)
    with pytest.raises(SystemExit):
        checkpoint.load(
            newest(config)[1] or Path(), checkpoint.Parts(net, build_optimizer(net, config)), config
        )
    assert "holds more than tensors and numbers" in capsys.readouterr().err
    assert not (tmp_path / "harmed").exists()


def test_what_cannot_be_reached_is_not_taken_for_damaged(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a file server that is away: the run would begin anew and overwrite what is whole."""

    def unreachable(_: Path) -> list[int]:
        raise OSError(errno.ESTALE, "Stale file handle")

    retention.known.clear()  # as in a process that has just begun
    monkeypatch.setattr(storage, "size_and_crc32", unreachable)
    with pytest.raises(OSError, match="Stale"):
        newest(config)


def test_how_a_step_is_computed_is_the_choice_of_the_run_that_goes_on(config: Config) -> None:
    """One of before AdamW was fused goes on fused, and one that was fused without."""
    for before, now in ((None, True), (True, None)):
        nets = [build_model(config) for _ in range(2)]
        saving, loading = (
            torch.optim.AdamW(net.parameters(), lr=0.1, fused=fused)
            for net, fused in zip(nets, (before, now), strict=True)
        )
        for parameter in nets[0].parameters():
            parameter.grad = torch.ones_like(parameter)
        saving.step()
        checkpoint.save(9, checkpoint.Parts(nets[0], saving), config, {}, BEST, False)
        checkpoint.load(folder(config, 9), checkpoint.Parts(nets[1], loading), config)
        (group,) = loading.param_groups
        assert (group["fused"], group["lr"]) == (now, 0.1)
        for parameter in nets[1].parameters():
            parameter.grad = torch.ones_like(parameter)
        loading.step()
        assert {float(state["step"]) for state in loading.state.values()} == {2}
        shutil.rmtree(folder(config, 9))


def test_moments_have_the_layout_of_the_weights_that_go_on(config: Config) -> None:
    """A fused kernel goes through both side by side, whatever their strides say."""
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        net = build_model(config)
        optimizer = build_optimizer(net, config)
        for parameter in net.parameters():
            parameter.grad = torch.arange(parameter.numel()).view_as(parameter) / 1e3
        optimizer.step()
        checkpoint.save(9, checkpoint.Parts(net, optimizer), config, {}, BEST, False)
        # torch's annotations know no memory_format alone
        again = build_model(config).to(memory_format=layout)  # type: ignore[call-overload]
        optimizer = build_optimizer(again, config)
        checkpoint.load(folder(config, 9), checkpoint.Parts(again, optimizer), config)
        for parameter, before in zip(again.parameters(), net.parameters(), strict=True):
            assert before.grad is not None
            parameter.grad = torch.empty_like(parameter).copy_(before.grad)
        optimizer.step()
        ends.append([parameter.detach().clone() for parameter in again.parameters()])
        shutil.rmtree(folder(config, 9))
    assert all(map(torch.equal, *ends))


def test_a_weight_that_no_fused_kernel_reads_is_trained_without_one(config: Config) -> None:
    net = build_model(config)
    assert build_optimizer(net, config).defaults["fused"]
    net.wide = torch.nn.Parameter(torch.zeros(4, 8)[:, :4])  # not dense
    assert not build_optimizer(net, config).defaults["fused"]
    net.wide = torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    assert not build_optimizer(net, config).defaults["fused"]
