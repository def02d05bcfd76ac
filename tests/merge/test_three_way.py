"""A change of the template meets a team's edits: nothing of theirs is lost, whatever git is set to.

The template is a small one here, in two versions; test_switch.py moves whole projects.
"""

import fcntl
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import BIN, run
from repositories import call, commit, content, repository, state, write
from scaffold.errors import FAILURE, PRECONDITION, ScaffoldError
from scaffold.git import lock
from scaffold.git.repository import find_place
from scaffold.git.run import git
from scaffold.merge import apply, journal, three_way
from scaffold.merge.rollback import take_back
from scaffold.merge.three_way import Outcome
from scaffold.ops import update
from scaffold.ops.update import carry_out, rehearse
from scaffold.template.answers import FILE
from small_template import BASE, NEWER, TEXT, killed, later, made, refused
from small_template import project as project
from small_template import templates as templates


def test_what_nobody_edited_becomes_the_new_render(project: Path) -> None:
    outcome = carry_out(later(project))
    assert outcome.changed == [FILE, "train.py"]
    assert (outcome.added, outcome.removed) == (["fresh.py"], ["dropped.py"])
    assert (outcome.kept, outcome.left_out, outcome.conflicts) == ([], [], {})
    files = content(project)
    assert files.pop(FILE).startswith("_commit: v2.0.0\n")
    assert files == {
        "train.py": NEWER, "model.py": TEXT, "same.py": TEXT, "fresh.py": "fresh = 1\n"
    }  # fmt: skip
    assert not call(project, "diff", "--name-only")  # all is staged, for one look at it


def test_edits_elsewhere_in_a_file_stay(project: Path) -> None:
    write(project, {"train.py": TEXT.replace("line_15 = 15\n", "line_15 = 15\nours = 1\n")})
    commit(project)
    assert not carry_out(later(project)).conflicts
    assert (project / "train.py").read_text() == NEWER.replace(
        "line_15 = 15\n", "line_15 = 15\nours = 1\n"
    )


def test_two_conflicts_in_a_file_are_counted_and_told(project: Path) -> None:
    ours = TEXT.replace("line_3 = 3\n", "line_3 = 0\n").replace("line_27 = 27\n", "line_27 = 0\n")
    write(project, {"train.py": ours})
    commit(project)
    outcome = carry_out(later(project))
    assert outcome.conflicts == {"train.py": "changed here and in the template, in 2 places"}
    text = (project / "train.py").read_text()
    assert all(f"{line}\n" in text for line in ("line_3 = 0", "line_27 = 0", "line_3 = 33"))
    assert text.count("|||||||") == 2  # what both began with
    # what git itself needs for mergetool and checkout --ours
    assert call(project, "ls-files", "--unmerged").count("train.py") == 3
    assert FILE not in outcome.conflicts


def test_a_file_that_the_template_renames_takes_its_edits_along(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    templates({"train.py": TEXT}, {"training.py": NEWER})
    root = repository(made(tmp_path / "renamed", {"train.py": TEXT}))
    write(root, {"train.py": TEXT + "ours = 1\n"})
    commit(root)
    assert not carry_out(later(root)).conflicts
    assert (root / "training.py").read_text() == NEWER + "ours = 1\n"
    assert not (root / "train.py").exists()


def test_a_file_that_the_user_moved_gets_the_change(project: Path) -> None:
    (project / "src").mkdir()
    call(project, "mv", "train.py", "src/train.py")
    commit(project)
    assert not carry_out(later(project)).conflicts
    assert (project / "src/train.py").read_text() == NEWER
    assert not (project / "train.py").exists()


def test_an_edited_file_that_only_the_old_template_had_is_kept_and_listed(project: Path) -> None:
    write(project, {"dropped.py": TEXT + "ours = 1\n"})
    commit(project)
    outcome = carry_out(later(project))
    assert outcome.kept == ["dropped.py"]
    assert not outcome.conflicts
    assert (project / "dropped.py").read_text() == TEXT + "ours = 1\n"


def test_a_file_that_the_user_has_already_is_a_conflict(project: Path) -> None:
    write(project, {"fresh.py": "ours = 1\n"})
    commit(project)
    outcome = carry_out(later(project))
    assert list(outcome.conflicts) == ["fresh.py"]
    assert "ours = 1\n" in (project / "fresh.py").read_text()
    assert "fresh = 1\n" in (project / "fresh.py").read_text()


def test_a_file_that_the_user_deleted_stays_deleted_and_is_told(project: Path) -> None:
    (project / "train.py").unlink()
    commit(project)
    outcome = carry_out(later(project))
    assert outcome.left_out == ["train.py"]
    assert not outcome.conflicts
    assert not (project / "train.py").exists()


def test_a_file_that_both_renamed_is_a_conflict_with_all_in_it(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    templates({"train.py": TEXT}, {"training.py": TEXT})
    root = repository(made(tmp_path / "project", {"train.py": TEXT}))
    call(root, "mv", "train.py", "loop.py")
    write(root, {"loop.py": TEXT + "ours = 1\n"})
    commit(root)
    outcome = carry_out(later(root))
    assert outcome.conflicts
    assert any("ours = 1\n" in text for text in content(root).values())


@pytest.mark.parametrize("gone", ["here", "in the template"])
def test_a_file_that_one_renamed_and_the_other_deleted_loses_no_edit(
    tmp_path: Path, templates: Callable[..., None], gone: str
) -> None:
    here = gone == "here"
    templates(
        {"train.py": TEXT, "a.py": "1\n"}, {"training.py": NEWER} if here else {"a.py": "1\n"}
    )
    root = repository(made(tmp_path / "project", {"train.py": TEXT, "a.py": "1\n"}))
    if here:
        (root / "train.py").unlink()
    else:
        call(root, "mv", "train.py", "loop.py")
        write(root, {"loop.py": TEXT + "ours = 1\n"})
    commit(root)
    outcome = carry_out(later(root))
    assert not outcome.conflicts
    if here:
        assert (outcome.left_out, outcome.removed) == (["training.py"], ["a.py"])
        assert list(content(root)) == [FILE]
    else:
        assert outcome.kept == ["loop.py"]
        assert content(root)["loop.py"] == TEXT + "ours = 1\n"


@pytest.mark.usefixtures("project")
def test_a_project_in_a_subfolder_changes_nothing_around_it(tmp_path: Path) -> None:
    top = tmp_path / "larger"
    root = made(top / "services/train ing", BASE)
    write(top, {"train.py": TEXT, "dropped.py": TEXT, "services/dropped.py": TEXT})
    repository(top)
    around = {name: text for name, text in content(top).items() if "ing/" not in name}
    write(root, {"train.py": TEXT.replace("line_15 = 15\n", "ours = 1\n")})
    commit(top)
    assert rehearse(later(root))[0] == carry_out(later(root))
    assert content(root)["train.py"] == NEWER.replace("line_15 = 15\n", "ours = 1\n")
    assert "dropped.py" not in content(root)
    assert around == {name: text for name, text in content(top).items() if "ing/" not in name}


def test_windows_line_ends_stay_and_merge(project: Path) -> None:
    for name in ("train.py", "model.py"):
        ours = TEXT.replace("line_15 = 15\n", "ours = 1\n") if name == "train.py" else TEXT
        (project / name).write_bytes(ours.replace("\n", "\r\n").encode())
    commit(project)
    outcome = carry_out(later(project))
    assert not outcome.conflicts
    assert outcome.changed == [FILE, "train.py"]
    expected = NEWER.replace("line_15 = 15\n", "ours = 1\n").replace("\n", "\r\n")
    assert (project / "train.py").read_bytes().decode() == expected


def test_rules_of_both_sides_for_git_stand_one_below_the_other(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    """As where a project has some already, and the template has them only now."""
    templates(BASE, BASE | {".gitattributes": "*.gz binary\n", "a.gz": "\0\n"})
    root = repository(made(tmp_path / "project", BASE))
    write(root, {".gitattributes": "* text eol=crlf\n"})
    commit(root)
    assert not carry_out(later(root)).conflicts
    assert (root / ".gitattributes").read_bytes() == b"* text eol=crlf\r\n*.gz binary\r\n"
    assert (root / "a.gz").read_bytes() == b"\0\n"


def test_an_executable_file_stays_so(project: Path) -> None:
    (project / "train.py").chmod(0o755)
    commit(project)
    carry_out(later(project))
    assert (project / "train.py").read_text() == NEWER
    assert (project / "train.py").stat().st_mode & stat.S_IXUSR


def test_names_with_a_space_or_a_letter_beyond_ascii(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    files = {"my notes.md": TEXT, "größe.py": TEXT, "[a]*.txt": TEXT, "plain.py": TEXT}
    templates(files, dict.fromkeys(files, NEWER))
    root = repository(made(tmp_path / "project", files))
    write(root, {"größe.py": TEXT.replace("line_3 = 3\n", "ours = 1\n"), "ünser file.py": "1\n"})
    commit(root)
    outcome = carry_out(later(root))
    assert list(outcome.conflicts) == ["größe.py"]
    assert {"my notes.md", "[a]*.txt", "plain.py"} <= set(outcome.changed)
    take_back(find_place(root))
    assert content(root)["my notes.md"] == TEXT


HOSTILE = {
    "core.hooksPath": "hooks",
    "commit.gpgsign": "true",
    "merge.conflictStyle": "merge",
    "core.autocrlf": "true",
    "merge.renames": "false",
    "diff.renames": "false",
    "diff.external": "false",
    "diff.noprefix": "true",
    "color.ui": "always",
    "core.quotePath": "true",
    "status.showUntrackedFiles": "all",
    "log.showSignature": "true",
    "core.excludesFile": "excluded",
    "core.fileMode": "false",
}


def test_settings_and_hooks_of_the_user_do_not_matter(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, {"src/model.py": TEXT, "train.py": TEXT.replace("line_15 = 15\n", "ours = 1\n")})
    (project / "model.py").unlink()
    commit(project)
    plain = shutil.copytree(project, tmp_path / "plain")
    expected = carry_out(later(plain))
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("pre-commit", "post-checkout", "prepare-commit-msg", "post-index-change"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        (hooks / hook).chmod(0o755)
    (tmp_path / "excluded").write_text("fresh.py\n*.md\n")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    for name, value in HOSTILE.items():
        path = str(tmp_path / value) if value in ("hooks", "excluded") else value
        call(project, "config", name, path)
    for name in ("user.name", "user.email"):
        call(project, "config", "--unset", name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert rehearse(later(project))[0] == expected
    assert carry_out(later(project)) == expected
    assert not (tmp_path / "ran").exists()
    assert call(project, "diff", "--cached", "--quiet", "HEAD", "--", "same.py") == ""
    plain_tree, tree = (call(root, "write-tree") for root in (plain, project))
    assert tree == plain_tree


@pytest.mark.parametrize("kind", ["detached", "shallow", "worktree"])
def test_heads_and_clones_of_any_kind(tmp_path: Path, project: Path, kind: str) -> None:
    write(project, {"train.py": TEXT.replace("line_15 = 15\n", "ours = 1\n")})
    commit(project)
    root = tmp_path / "other"
    match kind:
        case "detached":
            call(project, "checkout", "--quiet", "--detach", "HEAD")
            root = project
        case "shallow":
            call(tmp_path, "clone", "--quiet", "--depth=1", f"file://{project}", str(root))
        case "worktree":
            call(project, "worktree", "add", "--quiet", str(root))
    before = state(root)
    assert rehearse(later(root))[0] == carry_out(later(root))
    assert content(root)["train.py"] == NEWER.replace("line_15 = 15\n", "ours = 1\n")
    assert take_back(find_place(root)).message == "Update"
    assert state(root) == before


def old_git(folder: Path) -> Path:
    """A git that says it is 2.34 and refuses what came later."""
    real = shutil.which("git")
    folder.mkdir()
    (folder / "git").write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '  *" version") echo "git version 2.34.1"; exit ;;\n'
        '  *zdiff3*) echo "fatal: unknown style zdiff3" >&2; exit 128 ;;\n'
        '  *"merge-tree --write-tree"*) echo "usage: git merge-tree" >&2; exit 129 ;;\n'
        "esac\n"
        f'exec {real} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    return folder


def test_git_2_34_does_as_well(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, {"train.py": TEXT.replace("line_3 = 3\n", "line_3 = 0\n")})
    commit(project)
    monkeypatch.setenv("PATH", f"{old_git(tmp_path / 'old')}{os.pathsep}{os.environ['PATH']}")
    before = state(project)
    rehearsed, patch = rehearse(later(project))
    assert state(project) == before
    assert "+line_27 = 77" in patch
    assert carry_out(later(project)) == rehearsed
    assert rehearsed.conflicts == {"train.py": "changed here and in the template, in 1 place"}
    assert "|||||||" in (project / "train.py").read_text()


def test_what_is_not_committed_is_refused_and_untouched(project: Path) -> None:
    write(project, {"train.py": TEXT + "ours = 1\n"})
    assert refused(project).fact == "not committed: `train.py`"
    call(project, "add", "train.py")
    error = refused(project)
    assert error.fact == "not committed: `train.py`"
    assert error.remedy.startswith("git commit -a")


def test_what_is_edited_elsewhere_in_the_repository_does_not_matter(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    """Unless it is staged, and would be in the same commit."""
    templates(BASE, BASE | {"train.py": NEWER})
    top = tmp_path / "larger"
    root = made(top / "a", BASE)
    write(top, {"ab/x.py": "1\n", "y.py": "1\n", "z.py": "1\n"})
    repository(top)
    write(top, {"ab/x.py": "2\n", "y.py": "2\n", "new.py": "1\n"})
    (top / "z.py").unlink()
    before = state(top)
    assert rehearse(later(root))[0] == carry_out(later(root))
    assert content(top) == before[2] | {"a/train.py": NEWER, f"a/{FILE}": content(root)[FILE]}
    take_back(find_place(root))
    assert state(top) == before
    call(top, "add", "y.py")
    error = refused(root)
    assert error.fact == "staged outside of the project, for the same commit: `y.py`"
    assert error.remedy.startswith("git commit, or git restore --staged")


def test_the_hint_to_let_git_keep_the_answers_works(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    """Where it ignores them, or the whole project, or was not asked yet."""
    templates(BASE, BASE | {"train.py": NEWER})
    for number, rules in enumerate((".*\n", "*\n", "a b/\n", "same.py\n", "")):
        top = tmp_path / str(number)
        root = made(top / "a b", BASE)
        write(top, {".gitignore": rules})
        call(top, "init", "--quiet")
        for name in ("user.name", "user.email"):
            call(top, "config", name, "team")
        call(top, "add", "--force", ".gitignore", *(["a b/model.py"] if number else ["a b"]))
        call(top, "rm", "--quiet", "--cached", "--ignore-unmatch", f"a b/{FILE}")
        call(top, "commit", "--quiet", "--message", "some")
        with pytest.raises(ScaffoldError, match=f"git does not keep `{FILE}`") as caught:
            carry_out(later(root))
        assert run(caught.value.remedy, root).status == 0, caught.value.remedy
        assert carry_out(later(root)).changed == [FILE, "train.py"]


def test_what_git_does_not_keep_is_not_overwritten(project: Path) -> None:
    write(project, {"fresh.py": "ours = 1\n", "notes.txt": "ours\n"})
    assert refused(project).fact == "`fresh.py` would be overwritten, and git does not keep it"
    write(project, {".gitignore": "fresh.py\nnotes.txt\n"})
    commit_only(project, ".gitignore")
    assert refused(project).fact == "`fresh.py` would be overwritten, and git does not keep it"
    (project / "fresh.py").unlink()
    carry_out(later(project))
    assert (project / "notes.txt").read_text() == "ours\n"


def commit_only(root: Path, name: str) -> None:
    call(root, "add", name)
    call(root, "commit", "--quiet", "--message", "edits")


def test_a_bisect_is_finished_first(project: Path) -> None:
    """Its next step takes along what is staged, and the commit would be on no branch."""
    call(project, "bisect", "start")
    assert refused(project).fact == f"a bisect is under way in `{project}`"
    call(project, "bisect", "reset")
    carry_out(later(project))


@pytest.mark.parametrize("what", ["merge", "cherry-pick", "revert", "rebase"])
def test_what_git_is_in_the_midst_of_is_finished_first(project: Path, what: str) -> None:
    call(project, "checkout", "--quiet", "-b", "side")
    write(project, {"train.py": "side\n"})
    commit(project)
    call(project, "checkout", "--quiet", "main")
    write(project, {"train.py": "main\n"})
    commit(project)
    if what == "revert":
        write(project, {"train.py": "later\n"})
        commit(project)
    words = {"revert": ["revert", "--no-edit", "HEAD~1"]}.get(what, [what, "side"])
    assert git(project, *words).returncode != 0
    assert refused(project).fact == f"a {what} is under way in `{project}`"


@pytest.mark.usefixtures("project")
def test_without_git_or_a_commit_nothing_begins(tmp_path: Path) -> None:
    root = made(tmp_path / "alone", BASE)
    with pytest.raises(ScaffoldError, match="is in no git repository") as caught:
        carry_out(later(root))
    assert caught.value.status == PRECONDITION
    call(root, "init", "--quiet")
    with pytest.raises(ScaffoldError, match="has no commit yet"):
        carry_out(later(root))
    call(root, "config", "user.name", "team")
    call(root, "config", "user.email", "team@localhost")
    write(root, {"other": "1\n"})
    commit_only(root, "other")
    with pytest.raises(ScaffoldError, match=f"git does not keep `{re.escape(FILE)}`"):
        carry_out(later(root))
    assert content(root).keys() == {*BASE, FILE, "other"}


def test_a_rehearsal_tells_the_same_and_touches_nothing(project: Path) -> None:
    write(project, {"train.py": TEXT.replace("line_3 = 3\n", "ours = 1\n"), "dropped.py": "ours\n"})
    (project / "same.py").unlink()
    commit(project)
    objects = {path for path in (project / ".git").rglob("*") if path.is_file()}
    before = state(project)
    rehearsed, patch = rehearse(later(project))
    assert state(project) == before
    assert {path for path in (project / ".git").rglob("*") if path.is_file()} == objects
    assert carry_out(later(project)) == rehearsed
    assert rehearsed.kept == ["dropped.py"]
    assert "+++ b/fresh.py\n" in patch
    assert "+line_27 = 77\n" in patch
    assert re.search(r"^\+<<<<<<< ", patch, re.MULTILINE)


def test_what_a_rehearsal_shows_is_a_patch(tmp_path: Path, templates: Callable[..., None]) -> None:
    """Of a file that is no text, too."""
    old, new = {"a.bin": "a\0b", "a.py": TEXT}, {"a.bin": "a\0c", "a.py": NEWER, "b.py": TEXT}
    templates(old, new)
    root = repository(made(tmp_path / "project", old))
    done = git(root, "apply", text=rehearse(later(root))[1])
    assert (done.returncode, done.stderr) == (0, "")
    patched = content(root)
    call(root, "reset", "--quiet", "--hard")
    call(root, "clean", "--quiet", "--force")
    carry_out(later(root))
    assert content(root) == patched


def test_what_was_moved_can_be_taken_back(project: Path) -> None:
    write(project, {"train.py": TEXT.replace("line_3 = 3\n", "ours = 1\n"), "dropped.py": "ours\n"})
    commit(project)
    write(project, {"notes.txt": "not kept by git\n"})
    before = state(project)
    assert carry_out(later(project)).conflicts
    assert state(project) != before
    write(project, {"train.py": "half = 1\n"})
    assert take_back(find_place(project)).message == "Update"
    assert state(project) == before
    with pytest.raises(ScaffoldError, match="nothing is under way here"):
        take_back(find_place(project))
    carry_out(later(project))
    call(project, "reset", "--quiet", "--merge")
    assert state(project) == before


def test_what_was_committed_or_edited_since_is_not_taken_back(project: Path) -> None:
    carry_out(later(project))
    write(project, {"model.py": "edited since\n", "fresh.py": "edited since\n"})
    with pytest.raises(ScaffoldError, match=r"edited since: `fresh\.py`"):
        take_back(find_place(project))
    assert (project / "model.py").read_text() == "edited since\n"
    commit(project)
    with pytest.raises(ScaffoldError, match="there is another commit than when it began: Update"):
        take_back(find_place(project))
    assert (project / "fresh.py").read_text() == "edited since\n"


def test_a_git_that_fails_leaves_all_as_it_was(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(project)
    path, real = tmp_path / "broken", shutil.which("git")
    path.mkdir()
    for step in ("hash-object", "write-tree", "commit-tree", "cherry-pick"):
        (path / "git").write_text(
            f'#!/bin/sh\ncase "$*" in *{step}*) echo "fatal: broken" >&2; exit 128 ;; esac\n'
            f'exec {real} "$@"\n'
        )
        (path / "git").chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{path}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}")
            with pytest.raises(ScaffoldError, match="git failed: fatal: broken") as caught:
                carry_out(later(project))
        assert caught.value.status == FAILURE
        assert state(project) == before
        with pytest.raises(ScaffoldError, match="nothing is under way here"):
            take_back(find_place(project))


@pytest.mark.parametrize("after", ["begin", "set_index", "write"])
def test_a_move_that_is_killed_half_way_is_taken_back(
    project: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    write(project, {"notes.txt": "not kept by git\n"})
    before = state(project)
    module = apply if after == "set_index" else journal
    with monkeypatch.context() as patch:
        if after == "set_index":  # it forgets a move whose index could not be set
            patch.setattr(journal, "forget", lambda _: None)
        killed(monkeypatch, module, after, lambda: carry_out(later(project)))
    if after == "begin":
        assert state(project) == before
        write(project, {"model.py": "ours = 1\n"})
        with pytest.raises(ScaffoldError, match="nothing is under way here"):
            take_back(find_place(project))
        assert (project / "model.py").read_text() == "ours = 1\n"
        return
    assert refused(project).remedy == "scaffold abort"
    assert take_back(find_place(project)).message == "Update"
    assert state(project) == before


@pytest.mark.parametrize("step", ["write", "set_done"])
def test_a_merge_that_fails_half_way_is_put_back(
    step: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(project)
    whole = getattr(journal, step)

    def fail(*words: Any) -> None:
        whole(*words)
        raise OSError(5, "Input/output error", "beside", None, "train.py")

    monkeypatch.setattr(journal, step, fail)
    with pytest.raises(ScaffoldError, match=r"^Input/output error: `train\.py`$"):
        carry_out(later(project))
    assert state(project) == before


def test_a_full_disk_is_that_of_the_repository(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(project)

    def fill(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "begin", fill)
    with pytest.raises(ScaffoldError, match=f"^no space is left in `{project}/.git`$"):
        carry_out(later(project))
    assert state(project) == before


def test_only_what_a_move_changed_is_taken_back(project: Path) -> None:
    """What else was staged or edited meanwhile stays; all does, once git has taken it back."""
    carry_out(later(project))
    write(project, {"own.py": "1\n", "same.py": "ours = 1\n"})
    call(project, "add", "own.py", "same.py")
    write(project, {"model.py": "ours = 1\n"})
    take_back(find_place(project))
    assert content(project)["train.py"] == TEXT
    assert call(project, "status", "--porcelain").splitlines() == [
        " M model.py", "A  own.py", "M  same.py"
    ]  # fmt: skip
    call(project, "reset", "--quiet", "--hard")
    carry_out(later(project))
    call(project, "reset", "--quiet", "--merge")
    write(project, {"train.py": "ours = 1\n"})
    call(project, "add", "train.py")
    with pytest.raises(ScaffoldError, match="nothing is under way here"):
        take_back(find_place(project))
    assert (project / "train.py").read_text() == "ours = 1\n"


def test_what_is_edited_while_a_move_is_made_is_not_overwritten(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def merged(*arguments: Any) -> Outcome:
        write(project, {"train.py": "edited meanwhile\n"})
        return three_way.merge(*arguments)

    monkeypatch.setattr(update, "merge", merged)
    with pytest.raises(ScaffoldError, match=r"not committed: `train\.py`"):
        carry_out(later(project))
    assert content(project) == content(project) | BASE | {"train.py": "edited meanwhile\n"}


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_was_told_not_to_look_at_is_not_overwritten(project: Path, flag: str) -> None:
    call(project, "update-index", flag, "train.py", "model.py")
    write(project, {"train.py": "ours = 1\n", "model.py": "ours = 1\n"})
    assert refused(project).fact.startswith("git does not look at `train.py` (")
    call(project, "update-index", flag.replace("--", "--no-"), "train.py")
    call(project, "checkout", "--quiet", "train.py")
    carry_out(later(project))
    assert (project / "model.py").read_text() == "ours = 1\n"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_lies_in_the_way_of_a_folder_is_not_overwritten(
    tmp_path: Path, templates: Callable[..., None], kind: str
) -> None:
    templates(BASE, BASE | {"more/fresh.py": "fresh = 1\n"})
    root = repository(made(tmp_path / "project", BASE))
    write(root, {".gitignore": "more\n"})
    commit(root)
    if kind == "file":
        write(root, {"more": "precious\n"})
    else:
        (root / "more").symlink_to(tmp_path)
    assert refused(root).fact == "`more/fresh.py` would be overwritten, and git does not keep it"


def test_a_project_beside_another_one_leaves_it_alone(
    tmp_path: Path, templates: Callable[..., None]
) -> None:
    """Also where it has removed a file that the other one has as it was."""
    templates(BASE, BASE | {"train.py": NEWER})
    top = tmp_path / "both"
    first, second = made(top / "a", BASE), made(top / "b", BASE)
    (first / "train.py").unlink()
    repository(top)
    before = content(second)
    assert rehearse(later(first))[0] == carry_out(later(first))
    assert content(second) == before
    with pytest.raises(ScaffoldError, match="not committed"):
        carry_out(later(second))
    take_back(find_place(second))
    assert not call(top, "status", "--porcelain")


def test_of_two_moves_at_once_one_is_refused(project: Path) -> None:
    with (project / ".git" / lock.LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ScaffoldError, match="another scaffold is at work"):
            carry_out(later(project))
    (project / ".git/index.lock").touch()
    assert "git is at work in" in refused_by_lock(project)
    (project / ".git/index.lock").unlink()
    assert not carry_out(later(project)).conflicts


def refused_by_lock(root: Path) -> str:
    with pytest.raises(ScaffoldError) as caught:
        carry_out(later(root))
    return caught.value.fact


def test_a_move_starts_few_processes(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, real = tmp_path / "log", shutil.which("git")
    (tmp_path / "counting").mkdir()
    shim = tmp_path / "counting/git"
    shim.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}{os.pathsep}{os.environ['PATH']}")
    carry_out(later(project))
    assert 5 < len(log.read_text().splitlines()) <= 28
    assert subprocess.run(["git", "version"], check=True, capture_output=True).stdout
