"""A run directory tells how its run ended, and no other start changes what it tells."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import run_dir, run_state
from engine.variables import LAUNCHER
from probe import disk_at

# what launchers set, for each start another port or id; Fabric's rank 0 has nothing yet
TORCHRUN = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "1"}
SPAWN = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "40001"}
OTHERS: dict[str, dict[str, str]] = {
    "torchrun, another port": TORCHRUN | {"MASTER_PORT": "29501"},
    "torchrun, another machine": TORCHRUN | {"MASTER_ADDR": "10.0.0.2"},
    "torchrun, another id": TORCHRUN | {"TORCHELASTIC_RUN_ID": "2"},
    "torchrun, started anew": TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"},
    "spawn": SPAWN,
    "alone": {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"},
    "nothing": {},
}
TELLS: dict[str, Callable[[Path], None]] = {
    "failure": lambda folder: run_state.tell_failure(folder, "no memory"),
    "refusal": lambda folder: run_state.tell_refusal(folder, "no memory"),
    "end": lambda folder: run_state.tell(folder, "preempted", step=0),
}


@pytest.fixture
def be(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes this process a rank of some start."""

    def be(rank: int, env: dict[str, str], held: Any = (), parent: int = 1) -> None:
        for name in ("LOCAL_RANK", *TORCHRUN, "TORCHELASTIC_RESTART_COUNT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"RANK": str(rank), LAUNCHER: "1", **env}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(run_state, "held", list(held))
        monkeypatch.setattr(run_state, "found", [])
        monkeypatch.setattr(run_state, "PARENT", parent)

    return be


@pytest.mark.parametrize("tell", TELLS)
@pytest.mark.parametrize("other", OTHERS)
def test_a_start_that_fails_changes_nothing_in_the_state_of_the_run_that_is_alive(
    be: Callable[..., None], other: str, tell: str, tmp_path: Path
) -> None:
    """None of its ranks does: rank 0 finds the lock taken, and the others have not met it yet."""
    be(0, TORCHRUN)
    run_dir.take(tmp_path)
    before = (tmp_path / "run_state.json").read_bytes()
    assert json.loads(before)["state"] == "running"
    be(0, OTHERS[other])
    with pytest.raises(SystemExit):
        run_dir.take(tmp_path)
    for rank in (0, 1):
        be(rank, OTHERS[other])
        TELLS[tell](tmp_path)
        assert (tmp_path / "run_state.json").read_bytes() == before


@pytest.mark.parametrize("tell", ["failure", "refusal"])
def test_a_run_whose_directory_another_one_has_taken_changes_nothing_there(
    be: Callable[..., None], tell: str, tmp_path: Path
) -> None:
    """As where run_dir is a link, and leads elsewhere now."""
    be(0, SPAWN)
    run_dir.take(tmp_path)
    other = '{"state": "running", "pid": 1}'
    (tmp_path / "run_state.json").write_text(other)
    TELLS[tell](tmp_path)
    assert (tmp_path / "run_state.json").read_text() == other


def test_a_start_on_another_machine_under_the_same_port_is_another_one(
    be: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(0, SPAWN)
    run_dir.take(tmp_path)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    be(1, SPAWN)
    run_state.tell_failure(tmp_path, "no memory")
    assert run_state.read(tmp_path)["state"] == "running"


@pytest.mark.parametrize("fabric", [False, True], ids=["a launcher", "rank 0 is the launcher"])
def test_each_rank_of_the_run_itself_may_say_why_it_fails(
    be: Callable[..., None], fabric: bool, tmp_path: Path
) -> None:
    """For rank 0 may be gone, or stuck. What it says first stays, and the other ranks read it."""
    be(0, {} if fabric else TORCHRUN)
    run_dir.take(tmp_path)
    be(1, SPAWN if fabric else TORCHRUN, parent=os.getpid() if fabric else 1)
    assert run_state.failure(tmp_path) is None
    run_state.tell_failure(tmp_path, "no memory")
    run_state.tell_failure(tmp_path, "another rank is gone")
    assert run_state.failure(tmp_path) == "no memory"
    be(1, TORCHRUN | {"MASTER_PORT": "29501"})
    assert run_state.failure(tmp_path) is None  # it is the failure of another run


def test_a_full_disk_has_room_for_why_the_run_failed(
    be: Callable[..., None], tmp_path: Path
) -> None:
    with disk_at(tmp_path / "disk", "size=64k") as disk:
        be(0, TORCHRUN)
        run_dir.take(disk)
        with pytest.raises(OSError, match="No space left"):
            (disk / "all").write_bytes(bytes(2**17))
        run_state.tell_failure(disk, "no space")
        assert run_state.failure(disk) == "no space"
        assert not list(disk.glob(".run_state*"))
        run_state.held[0].close()


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A tracker would end of it when the ranks have met."""
    ((fact, remedy),) = run_dir.problems(tmp_path / os.fsdecode(b"run\xff"))
    assert "surrogates not allowed" in fact
    assert remedy == "set another --run_dir"


@pytest.mark.parametrize("name", [".lock", "config.toml", "checkpoints"])
def test_what_another_user_has_left_in_a_run_directory_is_told_before_the_run(
    name: str, tmp_path: Path
) -> None:
    place = tmp_path / "run" / name
    place.parent.mkdir()
    assert not run_dir.problems(tmp_path / "run")
    with disk_at(tmp_path / "disk", "ro") as disk:  # no mode of a file stops root
        place.symlink_to(disk)
        ((fact, remedy),) = run_dir.problems(tmp_path / "run")
    assert f"`{place}` is not writable" in fact
    assert "chown" in remedy
