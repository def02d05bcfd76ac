"""A disk that refuses is named, whatever torch makes of it; what is beyond reading is damage."""

import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import run_dir, run_state, storage
from engine.checksum import Summed
from probe import disk_at


def test_a_full_disk_is_named_where_torch_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does when it closes what is half written, while other things make room."""
    real: Callable[..., None] = torch.save

    def save(state: Any, file: Summed) -> None:
        try:
            real(state, file)
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:672]") from None

    monkeypatch.setattr(torch, "save", save)
    state = {"weights": torch.zeros(10**5)}
    with disk_at(tmp_path / "disk", "size=200k") as disk:
        said = f"OSError: [Errno 28] No space left on device, disk `{disk}` (0."
        with pytest.raises(OSError, match=re.escape(said)):
            storage.write(disk / "checkpoints/step-000000001", state, {})
        assert not list(disk.glob("checkpoints/.*"))


def test_a_file_that_may_not_be_so_large_is_no_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, before[1]))
    try:
        with pytest.raises(OSError, match="File too large, which `ulimit -f` limits"):
            storage.write(tmp_path / "step-000000001", {"weights": torch.zeros(10**5)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", [storage.STATE, storage.MANIFEST, ""])
def test_a_link_that_leads_to_itself_is_damage(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "step-000000001"
    storage.write(folder, {"weights": torch.zeros(1)}, {"step": 1})
    path = folder / name if name else folder
    path.rename(tmp_path / "aside")
    path.symlink_to(path)
    assert storage.damage(folder, storage.facts(folder))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a" * 256, "has a name of 256 bytes, and at most 255 are possible"),
        ("new/" + "ü" * 128, "has a name of 256 bytes, and at most 255 are possible"),
        ("dangling", "dangling` is a link that leads nowhere"),
        ("looping/run", "looping` is a link that leads nowhere"),
        ("file/run", "file` is a file"),
    ],
)
def test_a_run_directory_that_cannot_be_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "looping").symlink_to("looping")
    (tmp_path / "file").touch()
    ((fact, remedy),) = run_dir.problems(tmp_path / name)
    assert said in fact
    assert "--run_dir" in remedy
    assert not run_dir.problems(tmp_path / ("a" * 255))


def test_what_a_killed_writer_of_the_state_left_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".run_state.json.123"
    left.touch()
    monkeypatch.setattr(run_state, "held", [])
    run_dir.take(tmp_path)
    assert not left.exists()
    with disk_at(tmp_path / "disk", "size=4k") as disk:
        (disk / "full").write_bytes(bytes(4096))
        with pytest.raises(OSError, match="No space"):
            run_state.tell(disk, "running")
        assert [path.name for path in disk.iterdir()] == ["full"]
