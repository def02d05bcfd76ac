"""A checkpoint that a disk or a hand has damaged is never loaded, and a disk that refuses is told.

SOAK=1 (make soak) damages ten times as many.
"""

import errno
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from config import Config
from conftest import fork, launch, make, metrics, train
from engine import checkpoint, checksum, retention, run_state, storage
from model import BEST, build_model
from optimizer import build_optimizer
from probe import disk_at

SOAK = "SOAK" in os.environ
DAMAGED, REFUSED = (400, 40) if SOAK else (40, 4)
PAGE = 4096  # bytes that a disk loses at once
STEPS = (2, 4, 6)


def flip(path: Path, chance: random.Random) -> None:
    """Turn one bit, or a few."""
    content = bytearray(path.read_bytes())
    for place in chance.sample(range(8 * len(content)), chance.choice((1, 1, 2, 5))):
        content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def truncate(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def zero(path: Path, chance: random.Random) -> None:
    """Make a page zeros that was not."""
    content = path.read_bytes()
    pages = [content[begin : begin + PAGE] for begin in range(0, len(content), PAGE)]
    lost = chance.choice([number for number, page in enumerate(pages) if any(page)])
    pages[lost] = bytes(len(pages[lost]))
    path.write_bytes(b"".join(pages))


def lengthen(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randint(1, PAGE)))


def swap(a: Path, b: Path) -> None:
    aside = a.with_name("aside")
    a.rename(aside)
    b.rename(a)
    aside.rename(b)


def to_folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def copy(a: Path, b: Path) -> None:
    shutil.copy2(b, a)


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


FILES = ("state.pt", "manifest.json")
TO_ONE = (flip, truncate, zero, lengthen, remove, to_folder)  # (path, chance)
TO_TWO = (swap, copy)  # (path, the same of the checkpoint before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with the checkpoints of three steps, each with other weights."""
    run_dir = tmp_path_factory.mktemp("whole")
    for step in STEPS:
        torch.manual_seed(step)
        facts = {"step": step, "world_size": 2, "val_loss": 1 / step, "settings": {"lr": "0.008"}}
        state = {"model": {"0.weight": torch.randn(64, 64)}, "random": [{"cuda": None}] * 2}
        storage.write(run_dir / "checkpoints" / f"step-{step:09d}", state, facts)
    return run_dir


def folder(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"step-{step:09d}"


def test_no_damage_is_loaded_and_the_one_before_is_used(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where two of three are damaged, as by files that were swapped, the first is used."""
    for case in range(DAMAGED):
        chance, run_dir = random.Random(case), tmp_path / str(case)
        shutil.copytree(whole, run_dir)
        new, old = (folder(run_dir, step) / FILES[case % 2] for step in (6, 4))
        kind, two = case // 2 % (len(TO_ONE) + len(TO_TWO)), chance.random() < 0.2
        if kind < len(TO_ONE):
            for path in (new, old) if two else (new,):
                TO_ONE[kind](path, chance)
        else:
            TO_TWO[kind - len(TO_ONE)](new, old)
            two = TO_TWO[kind - len(TO_ONE)] is swap
        expected = 2 if two else 4
        found = retention.newest(Config(run_dir=run_dir), BEST)
        assert found == (expected, folder(run_dir, expected), 1 / expected), case
        told = [line.split(": ", 1) for line in capsys.readouterr().err.splitlines()]
        assert [where for where, _ in told] == [
            f"skipped checkpoint {folder(run_dir, step)}" for step in (6, 4) if step > expected
        ]
        assert all(why for _, why in told)
        shutil.rmtree(run_dir)


@pytest.mark.usefixtures("alone")
def test_where_all_are_damaged_nothing_is_loaded_and_each_is_told(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in range(DAMAGED // 4):
        chance, run_dir = random.Random(case), tmp_path / str(case)
        shutil.copytree(whole, run_dir)
        for step in STEPS:
            chance.choice(TO_ONE)(folder(run_dir, step) / chance.choice(FILES), chance)
        with pytest.raises(SystemExit) as caught:
            checkpoint.newest(Config(run_dir=run_dir), BEST)
        assert caught.value.code == 1
        err = capsys.readouterr().err
        assert all(f"skipped checkpoint {folder(run_dir, step)}: " in err for step in STEPS)
        assert f"error: all checkpoints in {run_dir} are damaged\nhint: put a whole" in err
        with pytest.raises(SystemExit):
            retention.best(run_dir, BEST)
        assert f"error: {run_dir} has no checkpoint\n" in capsys.readouterr().err


def test_a_checkpoint_under_the_name_of_another_step_is_not_loaded(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    swap(folder(tmp_path / "run", 6), folder(tmp_path / "run", 4))
    assert retention.newest(Config(run_dir=tmp_path / "run"), BEST)[0] == 2
    assert "step-000000006: it is that of step 4\n" in capsys.readouterr().err


def test_the_loss_in_a_damaged_manifest_is_not_the_lowest(whole: Path, tmp_path: Path) -> None:
    """A run would take no later checkpoint for its best one."""
    shutil.copytree(whole, tmp_path / "run")
    path = folder(tmp_path / "run", 4) / "manifest.json"
    path.write_text(path.read_text().replace("0.25", "0.05"))
    found = retention.newest(Config(run_dir=tmp_path / "run"), BEST)
    assert found == (6, folder(tmp_path / "run", 6), 1 / 6)


STAGES = {
    "make its folder": (Path, "mkdir"),
    "write": (checksum.Summed, "write"),
    "sync": (storage, "sync"),
    "rename": (Path, "rename"),
}


@pytest.mark.usefixtures("alone")
def test_a_disk_that_refuses_at_a_save_ends_the_run_in_two_lines_and_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At any point of a save, made at once or beside the training; the next start goes on."""
    for case in range(REFUSED):
        number = (errno.EIO, errno.EROFS, errno.EDQUOT)[case % 3]
        (owner, name), beside = list(STAGES.values())[case % 4], case % 8 >= 4
        config = Config(run_dir=tmp_path / str(case), width=8, async_save=beside)
        net = build_model(config)
        optimizer = build_optimizer(net, config)
        for step in (1, 2):
            checkpoint.save(step, checkpoint.Parts(net, optimizer), config, {}, BEST, True)

        def refuse(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, refuse)
            with pytest.raises(SystemExit) as caught:
                checkpoint.save(3, checkpoint.Parts(net, optimizer), config, {}, BEST, True)
        assert caught.value.code == 1
        fact, remedy = capsys.readouterr().err.splitlines()
        assert fact.startswith("error: cannot save ")
        assert f"{os.strerror(number)}, disk `" in fact
        assert remedy == "hint: mend the cause and start again: the run goes on"
        assert checkpoint.newest(config, BEST)[0] == 2
        checkpoint.save(3, checkpoint.Parts(net, optimizer), config, {}, BEST, True)
        assert checkpoint.newest(config, BEST)[0] == 3


def test_a_run_that_was_over_and_fails_when_it_goes_on_has_failed(tmp_path: Path) -> None:
    """Only a start that is refused before its first step leaves it as it was."""
    project, run_dir = make(tmp_path / "digits", "torchrun", tracker="none"), tmp_path / "run"
    train(project, run_dir, "--steps", 2, processes=1, forked=True)
    (run_dir / "checkpoints/.step-000000004.tmp").touch()  # no folder can be made there
    result = launch(project, "--run_dir", run_dir, "--steps", 4, processes=1, forked=True)
    assert result.status == 1
    found = run_state.read(run_dir)
    assert (found["state"], found["why"][:18]) == ("failed", "cannot save step 4")


def test_a_run_goes_on_before_the_damage_and_a_read_only_one_is_used_and_refused(
    tmp_path: Path,
) -> None:
    """On real processes, and on a file system that lets nobody write, not even root."""
    project = make(tmp_path / "digits", "spawn", tracker="none")
    with disk_at(tmp_path / "disk") as disk:
        run_dir = disk / "run"
        often = ("--log_every", 1, "--checkpoint_every", 2, "--validate_every", 100, "--keep", 3)
        train(project, run_dir, *often, "--steps", 6, processes=1, forked=True)
        before = metrics(run_dir)
        flip(folder(run_dir, 6) / "state.pt", random.Random(0))
        (folder(run_dir, 4) / "manifest.json").unlink()
        again = ("--run_dir", run_dir, *often, "--steps", 6)
        result = launch(project, *again, processes=1, forked=True)
        assert result.status == 0, result.err
        assert [line for line in result.err.splitlines() if line.startswith("skipped")] == [
            f"skipped checkpoint {folder(run_dir, 6)}: state.pt does not match its checksum",
            f"skipped checkpoint {folder(run_dir, 4)}: "
            "manifest.json is not there or does not match its checksum",
        ]
        assert result.out.startswith(f"{run_dir} goes on after step 2: world size 1, gloo\n")
        assert [line["loss"] for line in metrics(run_dir) if "loss" in line] == [
            line["loss"] for line in before if "loss" in line
        ]
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        more = ("--run_dir", run_dir, "--steps", 8)
        refused = launch(project, *more, processes=1, forked=True)
        assert refused.status == 2
        assert refused.err.splitlines() == [
            f"error: run_dir `{run_dir}`: `{run_dir}` is not writable",
            "hint: set another --run_dir",
        ]
        used = fork(["python", "predict.py", "--run_dir", str(run_dir)], project)
        assert used.status == 0, used.err
        assert used.out.startswith(f"checkpoint {folder(run_dir, 6)}\n")
