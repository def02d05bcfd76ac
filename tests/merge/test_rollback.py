"""A move is taken back byte for byte, whenever it was killed, and takes nobody's edits along."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import scaffold
from repositories import call, commit, content, repository, state, write
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git import index
from scaffold.git.lock import alone
from scaffold.git.repository import find_place
from scaffold.merge import apply, journal, stash
from scaffold.merge.rollback import take_back
from scaffold.ops.update import carry_out, rehearse
from scaffold.template.answers import FILE
from small_template import BASE, NEWER, TEXT, killed, later, made, refused

# pytest finds the fixtures of test_three_way.py by their names
from small_template import project as project
from small_template import templates as templates


def keeps(root: Path, name: str) -> bool:
    """Whether taking a move back is refused because of an edit, and leaves all as it is."""
    before = state(root)
    with pytest.raises(ScaffoldError) as caught:
        take_back(find_place(root))
    return caught.value.fact == f"edited since: `{name}`" and state(root) == before


@pytest.mark.parametrize("when", ["write", "set_done"])
def test_an_edit_after_a_move_that_was_killed_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    before = state(project)
    killed(monkeypatch, journal, when, lambda: carry_out(later(project)))
    text = (project / "train.py").read_text()
    write(project, {"train.py": f"{text}# ours\n"})
    assert keeps(project, "train.py")
    write(project, {"train.py": text})
    take_back(find_place(project))
    assert state(project) == before


def test_no_link_is_followed(
    tmp_path: Path, templates: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    templates(BASE, BASE | {"more/fresh.py": "fresh = 1\n"})
    root = repository(made(tmp_path / "project", BASE))
    killed(monkeypatch, journal, "write", lambda: carry_out(later(root)))
    shutil.rmtree(root / "more")
    write(tmp_path, {"elsewhere/fresh.py": "fresh = 1\n"})
    (root / "more").symlink_to(tmp_path / "elsewhere")
    assert keeps(root, "more/fresh.py")
    assert (tmp_path / "elsewhere/fresh.py").exists()


def test_what_git_does_not_look_at_stays(project: Path) -> None:
    """Files that are not staged any more, that were made anew, or that git shall not look at."""
    before = state(project)
    carry_out(later(project))
    for name in ("fresh.py", "dropped.py"):
        call(project, "reset", "--quiet", "--", name)
        old = (project / name).read_bytes() if (project / name).exists() else None
        write(project, {name: "ours = 1\n"})
        assert keeps(project, name)
        (project / name).unlink()
        write(project, {f"{name}/ours.py": "ours = 1\n"})
        assert keeps(project, name)
        shutil.rmtree(project / name)
        if old is not None:
            (project / name).write_bytes(old)
    call(project, "update-index", "--assume-unchanged", "train.py")
    text = (project / "train.py").read_text()
    write(project, {"train.py": "ours = 1\n"})
    assert keeps(project, "train.py")
    write(project, {"train.py": text})
    take_back(find_place(project))
    assert state(project) == before


@pytest.mark.parametrize("when", ["set_done", "set_index", "_write"])
def test_taking_back_can_be_killed_and_ended(
    project: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    before = state(project)
    carry_out(later(project))
    killed(monkeypatch, journal, when, lambda: take_back(find_place(project)))
    assert refused(project).remedy == "scaffold abort"
    take_back(find_place(project))
    assert state(project) == before


def test_what_goes_through_a_filter_is_refused(project: Path) -> None:
    """What the template makes would lie in git as it is, and not as the filter stores it."""
    write(project, {".gitattributes": "train.py filter=crypt\n*.md filter=crypt\n"})
    commit(project)
    before = state(project)
    with pytest.raises(ScaffoldError, match=r"git passes `train\.py` through a filter"):
        carry_out(later(project))
    assert state(project) == before
    with pytest.raises(ScaffoldError, match="nothing is under way"):
        take_back(find_place(project))


def test_git_can_take_a_move_back_and_bring_it_again(project: Path) -> None:
    """By a reset, after which it is done with, or by a stash."""
    carry_out(later(project))
    call(project, "stash", "--quiet")
    with pytest.raises(ScaffoldError, match="nothing is under way"):
        take_back(find_place(project))
    call(project, "stash", "pop", "--quiet", "--index")
    take_back(find_place(project))
    before = state(project)
    carry_out(later(project))
    call(project, "reset", "--quiet")  # the files alone are still the new ones
    take_back(find_place(project))
    assert state(project) == before
    carry_out(later(project))
    call(project, "reset", "--quiet", "--merge")
    call(project, "rm", "--quiet", "dropped.py")
    write(project, {"train.py": "ours = 1\n"})
    call(project, "add", "train.py")
    with pytest.raises(ScaffoldError, match="nothing is under way"):
        take_back(find_place(project))
    assert (project / "train.py").read_text() == "ours = 1\n"


def test_a_move_and_its_undoing_do_not_meet(project: Path) -> None:
    carry_out(later(project))
    with alone(find_place(project)):
        result = scaffold("abort", folder=project)
    assert result.err.startswith("error: another scaffold is at work")
    (project / ".git/index.lock").touch()
    result = scaffold("abort", folder=project)
    assert f"remove {project}/.git/index.lock" in result.err
    (project / ".git/index.lock").unlink()
    assert scaffold("abort", folder=project).status == 0


def test_modes_and_line_ends_of_the_disk_come_back(project: Path) -> None:
    call(project, "config", "core.fileMode", "false")
    call(project, "config", "core.autocrlf", "input")
    path = project / "train.py"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    call(project, "add", "train.py")
    path.chmod(0o750)
    (project / "dropped.py").chmod(0o400)
    before, stats = state(project), [p.stat() for p in (path, project / "dropped.py")]
    carry_out(later(project))
    assert path.stat().st_mode == stats[0].st_mode
    take_back(find_place(project))
    assert state(project) == before
    for then, now in zip(stats, (path, project / "dropped.py"), strict=True):
        assert (now.stat().st_mode, now.stat().st_mtime_ns) == (then.st_mode, then.st_mtime_ns)


def test_a_look_writes_nothing(project: Path) -> None:
    """Not even what git remembers of the files, in which hooks and monitors have a say."""
    (project / ".git/hooks").mkdir(exist_ok=True)
    hook = project / ".git/hooks/post-index-change"
    hook.write_text(f"#!/bin/sh\ntouch {project}/seen\n")
    hook.chmod(0o755)
    call(project, "config", "core.fsmonitor", str(hook))
    os.utime(project / "train.py", (1, 1))  # git sees that, and would remember it
    before = (project / ".git/index").read_bytes()
    rehearse(later(project))
    scaffold("status", folder=project)
    assert (project / ".git/index").read_bytes() == before
    carry_out(later(project))
    take_back(find_place(project))
    assert not (project / "seen").exists()


@pytest.mark.parametrize("kind", ["link", "folder", "submodule", "in the way"])
def test_what_is_no_plain_file_here_is_refused(project: Path, kind: str) -> None:
    """Git would call it by another name, and go on."""
    path = project / ("fresh.py" if kind == "in the way" else "train.py")
    if kind == "submodule":
        inner = repository(project / "inner")
        call(project, "rm", "--quiet", "train.py")
        head = call(inner, "rev-parse", "HEAD").strip()
        call(project, "update-index", "--add", "--cacheinfo", f"160000,{head},train.py")
        call(project, "commit", "--quiet", "--message", "a submodule")
        path.mkdir()
        shutil.rmtree(inner)
    else:
        path.unlink(missing_ok=True)
        if kind == "link":
            path.symlink_to("model.py")
        else:
            write(project, {f"{path.name}/a.py": "ours = 1\n"})
        commit(project)
    before = state(project)
    for act in (carry_out, rehearse):
        with pytest.raises(ScaffoldError, match=f"`{path.name}` is no plain file, as the project"):
            act(later(project))
    assert state(project) == before


def test_a_file_of_the_template_becomes_a_folder_and_back(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    old, new = {"a": "1\n", "b/c.py": "2\n"}, {"a/d.py": "3\n", "b": "4\n"}
    templates(BASE | old, BASE | new)
    root = repository(made(tmp_path / "project", BASE | old))
    before = state(root)
    outcome = carry_out(later(root))
    assert not outcome.conflicts
    assert {name: content(root).get(name) for name in (*old, *new)} == new | dict.fromkeys(old)
    take_back(find_place(root))
    assert state(root) == before


def test_comments_of_the_team_in_the_answers_stay(project: Path) -> None:
    """Wherever they stand; and a formatter's first line."""
    text = (project / FILE).read_text()
    theirs = text.replace("fabric\n", "fabric  # not spawn\n")
    write(project, {FILE: f"---\n# ask Kim first\n{theirs}  # keep\n"})
    commit(project)
    carry_out(later(project))
    assert (project / FILE).read_text() == (
        f"---\n{text.replace('v1.0.0', 'v2.0.0')}# ask Kim first\n# not spawn\n# keep\n"
    )


def test_a_conflict_is_written_as_git_writes_the_file(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    """With what the project says of its files, and a repository around it."""
    templates(BASE, BASE | {"train.py": NEWER, "model.py": NEWER})
    top, odd = tmp_path / "both", "working-tree-encoding=UTF-16\n"
    write(top, {".gitattributes": f"train.py {odd}", "a/.gitattributes": f"model.py {odd}"})
    root = made(top / "a", BASE)
    mine = TEXT.replace("line_3 = 3\n", "line_3 = 'ours'\n")
    names = ("train.py", "model.py")
    for name in names:
        (root / name).write_text(mine, encoding="utf-16")
    repository(top)
    before = state(top)
    assert carry_out(later(root)).conflicts.keys() == set(names)
    for name in names:
        text = (root / name).read_bytes().decode("utf-16")
        assert "<<<<<<< " in text
        assert "line_3 = 'ours'\n" in text
        call(root, "add", name)
    take_back(find_place(root))
    assert state(top) == before


def test_a_name_that_is_no_text_and_a_folder_that_git_does_not_keep(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    templates(BASE, BASE | {"train.py": NEWER})
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xffe"))
    root = repository(made(odd / "project", BASE))
    outcome, patch = rehearse(later(root))
    assert "+line_3 = 33" in patch
    assert carry_out(later(root)) == outcome
    team = repository(tmp_path / "team")
    (team / "sub").mkdir()
    write(team, {"sub/notes.txt": "not kept by git\n"})
    words = ("--method", "fabric", "--project-name", "digits", "--on-conflict", "merge")
    assert scaffold("new", *words, "sub", folder=team).status == 0
    assert (team / "sub/train.py").exists()
    assert (team / "sub/notes.txt").read_text() == "not kept by git\n"


def test_what_is_saved_while_the_files_are_written_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, whole = state(project), index.set_index

    def and_save(*arguments: Any) -> None:
        whole(*arguments)
        write(project, {"train.py": "ours = 1\n"})

    monkeypatch.setattr(apply, "set_index", and_save)
    with pytest.raises(ScaffoldError, match=r"edited meanwhile: `train\.py`"):
        carry_out(later(project))
    assert (project / "train.py").read_text() == "ours = 1\n"
    call(project, "checkout", "--quiet", "train.py")
    assert state(project) == before


@pytest.fixture
def conflict(project: Path) -> Path:
    """A project whose train.py has a conflict."""
    write(project, {"train.py": TEXT.replace("line_3 = 3\n", "line_3 = 'ours'\n")})
    commit(project)
    assert carry_out(later(project)).conflicts
    return project


@pytest.mark.parametrize("how", ["edited", "staged", "staged alone", "a link"])
def test_what_was_written_in_a_conflict_is_kept_in_a_stash(conflict: Path, how: str) -> None:
    path, marked = conflict / "train.py", (conflict / "train.py").read_bytes()
    path.write_bytes(b"settled = 1\r\n")
    path.chmod(0o755)
    if how == "a link":
        path.unlink()
        path.symlink_to("model.py")
    if how.startswith("staged"):
        call(conflict, "add", "train.py")
    if how == "staged alone":
        path.write_bytes(marked)
        path.chmod(0o644)
    call(conflict, "config", "core.safecrlf", "true")
    call(conflict, "config", "core.autocrlf", "input")
    result = scaffold("abort", folder=conflict)
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "taken back: Update\n"
        "kept what you wrote in `train.py`: "
        "git stash show -p shows it, git stash pop brings it back\n"
    )
    assert not call(conflict, "status", "--porcelain")
    assert call(conflict, "stash", "list") == "stash@{0}: scaffold abort: Update\n"
    call(conflict, "stash", "pop", "--quiet")
    if how == "a link":
        assert path.readlink() == Path("model.py")
    else:
        assert path.read_text() == "settled = 1\n"
        assert path.stat().st_mode & 0o100
    assert call(conflict, "status", "--porcelain").split()[-1:] == ["train.py"]


def test_nothing_is_kept_of_a_conflict_in_which_nobody_wrote(conflict: Path) -> None:
    assert take_back(find_place(conflict)) == ("Update", [])
    assert not call(conflict, "stash", "list")


def test_what_was_staged_and_is_on_the_disk_no_more_is_kept(project: Path) -> None:
    """As after an edit that was undone there alone, of a file without a conflict."""
    before = state(project)
    carry_out(later(project))
    text = (project / "train.py").read_text()
    write(project, {"train.py": "staged = 1\n"})
    call(project, "add", "train.py")
    write(project, {"train.py": text})
    assert take_back(find_place(project)).kept == ["train.py"]
    assert state(project) == before
    assert call(project, "show", "stash@{0}:train.py") == "staged = 1\n"


@pytest.mark.parametrize("when", ["keep", "set_done", "set_index", "_write"])
def test_what_was_written_in_a_conflict_is_kept_when_an_abort_is_killed(
    conflict: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    write(conflict, {"train.py": "settled = 1\n"})
    module = stash if when == "keep" else journal
    killed(monkeypatch, module, when, lambda: take_back(find_place(conflict)))
    assert take_back(find_place(conflict)).kept == ["train.py"]
    assert not call(conflict, "status", "--porcelain")
    assert call(conflict, "show", "stash@{0}:train.py") == "settled = 1\n"
    assert len(call(conflict, "stash", "list").splitlines()) == 1


def test_what_is_written_in_a_conflict_during_an_abort_stays(
    conflict: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(conflict, {"train.py": "settled = 1\n"})
    whole = journal.set_done

    def and_save(*arguments: Any) -> None:
        whole(*arguments)
        write(conflict, {"train.py": "later = 1\n"})

    with monkeypatch.context() as patch:
        patch.setattr(journal, "set_done", and_save)
        with pytest.raises(ScaffoldError, match=r"edited meanwhile: `train\.py`"):
            take_back(find_place(conflict))
    assert (conflict / "train.py").read_text() == "later = 1\n"
    assert call(conflict, "show", "stash@{0}:train.py") == "settled = 1\n"


def test_what_was_written_after_a_conflict_was_settled_stays(project: Path) -> None:
    write(project, {"train.py": TEXT.replace("line_3 = 3\n", "line_3 = 'ours'\n")})
    commit(project)
    before = state(project)
    assert carry_out(later(project)).conflicts
    write(project, {"train.py": "settled = 1\n"})
    call(project, "add", "train.py")
    write(project, {"train.py": "more = 1\n"})
    assert keeps(project, "train.py")
    call(project, "checkout", "--quiet", "HEAD", "--", "train.py")
    write(project, {"train.py": "work = 1\n"})
    assert keeps(project, "train.py")
    (project / "train.py").rename(project / "elsewhere")
    take_back(find_place(project))
    (project / "elsewhere").unlink()
    assert state(project) == before


def test_files_beside_those_of_a_move_are_nobody_elses(tmp_path: Path, project: Path) -> None:
    """As where a temporary file of ours might lie, and an empty folder in the place of a file."""
    names = [f".{name}.scaffold" for name in BASE] + ["beside", ".scaffold-beside"]
    write(project, dict.fromkeys(names, "ours = 1\n"))
    (project / ".beside").symlink_to(tmp_path / "outside")
    before = state(project)
    carry_out(later(project))
    (project / "fresh.py").unlink()
    (project / "fresh.py").mkdir()
    take_back(find_place(project))
    assert state(project) == before
    assert not (tmp_path / "outside").exists()


def test_a_link_that_leads_nowhere_moves_with_its_folder(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    templates({"old/a.py": TEXT, "old/b.py": TEXT}, {"new/a.py": TEXT, "new/b.py": TEXT})
    root = made(tmp_path / "project", {"old/a.py": TEXT, "old/b.py": TEXT})
    (root / "old/link").symlink_to("nowhere")
    before = state(repository(root))
    carry_out(later(root))
    assert (root / "new/link").readlink() == Path("nowhere")
    take_back(find_place(root))
    assert state(root) == before
    assert (root / "old/link").is_symlink()


def test_a_folder_of_nothing_is_in_the_way(
    tmp_path: Path, templates: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot become a file; and a move that is killed before a folder goes is taken back."""
    templates(BASE | {"b/c.py": "1\n"}, BASE | {"b": "2\n"})
    root = repository(made(tmp_path / "project", BASE | {"b/c.py": "1\n"}))
    (root / "b/cache").mkdir()
    assert refused(root).fact == "`b` would be overwritten, and git does not keep it"
    (root / "b/cache").rmdir()
    before = state(root)
    killed(monkeypatch, journal, "begin", lambda: carry_out(later(root)))
    with pytest.raises(ScaffoldError, match="nothing is under way"):
        take_back(find_place(root))
    with monkeypatch.context() as patch:
        patch.setattr(journal, "write", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            carry_out(later(root))
    take_back(find_place(root))
    assert state(root) == before


def test_a_change_of_the_executable_bit_is_written_and_an_edit_of_it_stays(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    templates(BASE, BASE | {"train.py": NEWER})
    (tmp_path / "2.0.0/template/same.py").chmod(0o755)
    root = repository(made(tmp_path / "project", BASE))
    before = state(root)
    carry_out(later(root))
    assert call(root, "status", "--porcelain").splitlines() == [
        "M  .copier-answers.yml", "M  same.py", "M  train.py"
    ]  # fmt: skip
    (root / "train.py").chmod(0o755)
    assert keeps(root, "train.py")
    (root / "train.py").chmod(0o644)
    take_back(find_place(root))
    assert state(root) == before


def test_edited_answers_hide_no_move_and_other_commits_are_told(project: Path) -> None:
    carry_out(later(project))
    answers = (project / FILE).read_text()
    write(project, {FILE: f"{answers}# ours\n"})
    assert keeps(project, FILE)
    write(project, {FILE: answers})
    call(project, "stash", "--quiet")
    commit(project)
    with pytest.raises(ScaffoldError, match="another commit than when it began: Update"):
        take_back(find_place(project))


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"head": 1}', "", '{"done": 0}'])
def test_a_damaged_note_is_two_lines(project: Path, text: str) -> None:
    carry_out(later(project))
    (project / ".git" / journal.FOLDER / journal.NOTE).write_text(text)
    result = scaffold("abort", folder=project)
    assert result.status == PRECONDITION
    assert "is damaged\nhint: git add -u && git stash" in result.err
    assert refused(project).remedy.startswith("git add -u && git stash")
    assert "Traceback" not in scaffold("status", folder=project).err
