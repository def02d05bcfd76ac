"""Whole projects move from method to method, and their teams keep what is theirs."""

import difflib
import itertools
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import formats
from conftest import Result, examples, launch, make, metrics, represented, run, scaffold, train
from repositories import call, commit, conflicts, content, repository, state, write
from scaffold.catalog.methods import METHODS
from scaffold.errors import CONFLICTS, PRECONDITION, USAGE
from scaffold.git.repository import find_place
from scaffold.merge import sandbox
from scaffold.merge.rollback import take_back
from scaffold.ops import update
from scaffold.ops.update import carry_out, rehearse, switching

PAIRS = list(itertools.combinations(METHODS, 2))
# ratchets: edits that conflict; README.md and pyproject.toml are lists of one line each
MOST_CONFLICTS = {"shares.py": 112, "pyproject.toml": 20, "README.md": 56}
OPTIONS = ({"example": "text", "tracker": "wandb"}, {"tracker": "mlflow"}, {"tracker": "none"})


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, str]], Path]:
    """Fresh projects by their answers; each is rendered once."""
    parent = tmp_path_factory.mktemp("rendered")
    found: dict[str, Path] = {}

    def render(answers: dict[str, str]) -> Path:
        key = json.dumps(answers, sort_keys=True)
        if key not in found:
            found[key] = make(parent / str(len(found)), **answers)
        return found[key]

    return render


@pytest.fixture
def quick(
    rendered: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Makes a project in git; what a switch renders is copied from the fresh projects."""

    def copy(_: Path, answers: dict[str, str], folder: Path) -> Path:
        return shutil.copytree(rendered(answers), folder)

    monkeypatch.setattr(update, "render", copy)

    def project(folder: Path, **answers: str) -> Path:
        fresh = {"project_name": "digits", "example": "digits", "tracker": "tensorboard"}
        return repository(shutil.copytree(rendered(fresh | answers), folder))

    return project


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_a_switch_makes_a_fresh_project_of_the_other_method_and_back_the_first_again(
    quick: Callable[..., Path],
    rendered: Callable[[dict[str, str]], Path],
    tmp_path: Path,
    a: str,
    b: str,
) -> None:
    """Byte for byte, whatever else was chosen."""
    options = OPTIONS[PAIRS.index((a, b)) % len(OPTIONS)]
    root = quick(tmp_path / "project", method=a, **options)
    first = content(root)
    for method in (b, a):
        move = switching(root, method)
        outcome = carry_out(move)
        assert {"train.py", "shares.py", "pyproject.toml", "README.md"} >= set(outcome.changed) - {
            ".copier-answers.yml"
        }
        assert "train.py" in outcome.changed
        assert content(root) == content(rendered(move.new))
        commit(root)
        again = carry_out(switching(root, method))
        assert again.is_empty
        assert not call(root, "status", "--porcelain")
    assert content(root) == first


def shared_files(folder: Path) -> list[str]:
    return sorted(name for name in content_names(folder) if name.endswith((".py", ".md", ".toml")))


def content_names(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    ]


@settings(max_examples=examples(12, 24, 400))
@given(data=st.data())
def test_whatever_a_user_writes_is_in_the_tree_or_in_a_conflict(
    quick: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Lines added, replaced and removed at any place of any file, files moved and removed.

    In a project that may have a form of its own.
    """
    a, b = data.draw(st.sampled_from(list(itertools.permutations(METHODS, 2))))
    root = quick(tmp_path_factory.mktemp("edited") / "project", method=a)
    if form := data.draw(st.sampled_from(["", *formats.FORMATS])):
        formats.reformat(root, form)
    count = itertools.count()
    names = shared_files(root)
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))
    for name in ["train.py", *(other for other in chosen if other != "train.py")]:
        path = root / name
        lines = path.read_text().splitlines(keepends=True)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(lines) - 1))
            mine = f"# line {next(count)} of the team\n"
            kind = data.draw(st.sampled_from(("insert", "replace", "remove")))
            lines[at : at + (kind != "insert")] = [mine] if kind != "remove" else []
        path.write_text("".join(lines))
        if data.draw(st.integers(0, 5)) == 0:
            path.rename(root / f"moved_{path.name}")
    if data.draw(st.booleans()):
        gone = data.draw(st.sampled_from([name for name in names if (root / name).exists()]))
        (root / gone).unlink()
    commit(root)
    theirs = re.findall(r"^# line \d+ of the team\n", "".join(content(root).values()), re.MULTILINE)
    before = state(root)
    outcome = carry_out(switching(root, b))
    after = content(root)
    text = "".join(after.values())
    assert all(line in text for line in theirs)
    marked = {name for name, text in after.items() if "\n<<<<<<< " in f"\n{text}"}
    assert marked <= set(outcome.conflicts)
    take_back(find_place(root))
    assert state(root) == before


def in_git(folder: Path, method: str, **answers: str) -> Path:
    return repository(make(folder, method, **answers))


@pytest.mark.parametrize("tests", represented(["layout", "test"], "layout"))
def test_a_project_goes_on_training_after_a_switch_with_edits(tests: str, tmp_path: Path) -> None:
    """Its checkpoints, its edits and its own tests, on two processes."""
    root = in_git(tmp_path / "digits", "fabric")
    flags = ("--steps", 20, "--log_every", 1, "--validate_every", 20, "--checkpoint_every", 10)
    train(root, tmp_path / "run", *flags, forked=True)
    first = metrics(tmp_path / "run")
    path = root / "train.py"
    edited = path.read_text().replace(
        "        log.train(step, totals, lr, grad_norm)\n",
        "        log.train(step, totals, lr, grad_norm)\n"
        '        print(f"our step {step}", flush=True)\n',
    )
    assert edited != path.read_text()
    path.write_text(edited)
    config = root / "config.py"
    config.write_text(config.read_text().replace("keep: int = ", "keep: int = 1 + "))
    commit(root)
    done = scaffold("switch", "--method", "torchrun", folder=root)
    assert done.status == 0, done.err
    commit(root)
    again = ("--run_dir", tmp_path / "run", "--steps", 30, *flags[2:])
    result = launch(root, *again, forked=True)
    assert result.status == 0, result.err
    assert "goes on after step 20" in result.out
    assert "our step 21\n" in result.out
    assert metrics(tmp_path / "run")[: len(first)] == first
    assert metrics(tmp_path / "run")[-1]["step"] == 30
    tested = run(["python", "-m", "pytest", "-q", "-k", tests], root, 300)
    assert tested.status == 0, tested.out + tested.err
    assert f"{1 if tests == 'layout' else 5} passed" in tested.out


@pytest.mark.parametrize("listed", ["pyproject.toml", "requirements.txt"])
def test_no_next_step_needs_a_file_that_the_team_has_removed(tmp_path: Path, listed: str) -> None:
    root = in_git(tmp_path / "digits", "torchrun")
    (root / "pyproject.toml").rename(root / listed)
    commit(root)
    done = scaffold("switch", "--method", "fabric", "--json", folder=root)
    assert done.status == 0, done.err
    install = ["pip install -e '.[test]'"] if listed == "pyproject.toml" else []
    assert json.loads(done.out)["next"][2:] == [*install, "python train.py --devices 2"]


def test_the_command_tells_what_it_did_and_what_is_next(tmp_path: Path) -> None:
    root = in_git(tmp_path / "digits", "fabric")
    before = state(root)

    def words(*flags: str) -> Result:
        return scaffold("switch", *flags, folder=root)

    dry = words("--method", "torchrun", "--dry-run")
    assert dry.status == 0
    assert state(root) == before
    assert [line.split()[0] for line in dry.out.splitlines()] == ["changed"] * 5
    shown = scaffold("diff", "--method", "torchrun", folder=root)
    assert "\n-from lightning.fabric import Fabric\n" in shown.out
    assert state(root) == before
    told = json.loads(words("--method", "torchrun", "--dry-run", "--json").out)
    assert told["changed"] == [
        ".copier-answers.yml", "README.md", "pyproject.toml", "shares.py", "train.py"
    ]  # fmt: skip
    done = words("--method", "torchrun")
    assert done.status == 0
    assert done.out.startswith(dry.out)
    steps = [line.strip() for line in done.out.splitlines() if line.startswith("  ")]
    assert steps == [
        "git diff --cached",
        'git commit -m "Switch from fabric to torchrun"',
        "torchrun --standalone --nproc-per-node 2 train.py",
    ]
    assert words("--method", "spawn").status == PRECONDITION  # not committed
    taken = scaffold("abort", folder=root)
    assert (taken.status, taken.out) == (0, "taken back: Switch from fabric to torchrun\n")
    assert state(root) == before
    same = words("--method", "fabric")
    assert (same.status, same.out) == (0, "nothing changes\n")
    for flags, status, fact in (
        (("--method", "horovod"), USAGE, "error: method `horovod` does not exist"),
        ((), USAGE, "error: --method is missing"),
    ):
        result = words(*flags)
        assert (result.status, result.err.splitlines()[0]) == (status, fact)
        assert "spawn, torchrun, fabric, accelerate" in result.err
    assert scaffold("switch", "--method", "spawn", folder=tmp_path).status == PRECONDITION
    assert state(root) == before


def test_a_conflict_is_told_with_a_status_of_its_own_and_taken_back(tmp_path: Path) -> None:
    root = in_git(tmp_path / "digits", "fabric")
    path = root / "train.py"
    text = path.read_text()
    path.write_text(
        text.replace("DDPStrategy(gradient_as", "DDPStrategy(static_graph=True, gradient_as")
    )
    commit(root)
    before = state(root)
    dry = scaffold("switch", "--method", "torchrun", "--dry-run", folder=root)
    assert (dry.status, state(root)) == (CONFLICTS, before)
    done = scaffold("switch", "--method", "torchrun", folder=root)
    assert done.status == CONFLICTS
    line = "conflict  train.py: changed here and in the template, in 1 place"
    assert line in dry.out.splitlines()
    assert line in done.out.splitlines()
    assert done.err.splitlines()[1].endswith("or scaffold abort")
    status = scaffold("status", folder=root)
    assert status.out.endswith(
        "conflict: train.py; edit it and git add it\n"
        "not committed yet: Switch from fabric to torchrun; git commit, or scaffold abort\n"
    )
    again = scaffold("update", folder=root)
    assert again.status == PRECONDITION
    assert again.err.startswith("error: not committed yet: Switch from fabric to torchrun\n")
    assert scaffold("abort", folder=root).status == 0
    assert state(root) == before


@pytest.mark.full
def test_a_switch_seldom_conflicts_with_an_edit_of_any_file(
    rendered: Callable[[dict[str, str]], Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """In all 12 directions a line is replaced, or one added, at each line that both methods have.

    test_parallel.py does so with train.py.
    """
    answers = {"project_name": "digits", "example": "digits", "tracker": "tensorboard"}
    folders = {method: rendered(answers | {"method": method}) for method in METHODS}
    found = dict.fromkeys(MOST_CONFLICTS, 0)
    for a, b in itertools.permutations(METHODS, 2):
        for name in MOST_CONFLICTS:
            base, theirs = (
                (folders[method] / name).read_text().splitlines(keepends=True) for method in (a, b)
            )
            blocks = difflib.SequenceMatcher(None, base, theirs, autojunk=False)
            shared = [
                i
                for block in blocks.get_matching_blocks()
                for i in range(block.a, block.a + block.size)
                if base[i].strip()
            ]
            for i in shared:
                mine = [f"{base[i].rstrip()}  # ours\n"]
                for lines in (mine, [base[i], *mine]):
                    ours = [*base[:i], *lines, *base[i + 1 :]]
                    found[name] += conflicts(ours, base, theirs, tmp_path)
    record_property("conflicts of a switch with an edit at a shared line", found)
    assert all(found[name] <= most for name, most in MOST_CONFLICTS.items()), found


# where the lines of the method begin and end, and what a team adds anywhere else
LISTS = {
    "train.py": ("# isort: split", "# isort: split", '"""\n', "@failures", "import einops\n"),
    "shares.py": ("# isort: split", "# isort: split", '"""\n', "SAMPLES", "import einops\n"),
    "pyproject.toml": (
        "    # the library", "    # what every",
        "dependencies = [", "[project.opt", '    "einops",\n',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_an_import_or_a_dependency_of_a_team_is_in_no_method_s_way(
    rendered: Callable[[dict[str, str]], Path], tmp_path: Path, name: str
) -> None:
    """In all 12 directions, at each place outside the lines of the method."""
    opening, closing, first, last, added = LISTS[name]
    answers = {"project_name": "digits", "example": "digits", "tracker": "tensorboard"}
    texts = {
        method: (rendered(answers | {"method": method}) / name).read_text().splitlines(True)
        for method in METHODS
    }
    for a, b in itertools.permutations(METHODS, 2):
        base = texts[a]

        def at(prefix: str, after: int, base: list[str] = base) -> int:
            return next(i for i in range(after, len(base)) if base[i].startswith(prefix))

        begin = at(first, 1) + 1
        own = at(opening, begin)
        behind = at(closing, own + 1)
        for i in [*range(begin, own + 1), *range(behind + 1, at(last, behind))]:
            ours = [*base[:i], added, *base[i:]]
            assert not conflicts(ours, base, texts[b], tmp_path), (a, b, base[i])


def grow(root: Path, package: str) -> None:
    """Move a project into src/ as its README tells, and commit it."""
    told = (root / "README.md").read_text().split("## When this grows")[1]
    steps = told.split("```sh\n")[1].split("```")[0].replace("digits.", f"{package}.", 1)
    done = run(steps.replace("src/digits", f"src/{package.replace('.', '/')}"), root)
    assert done.status == 0, done.err
    folder = f"src/{package.replace('.', '/')}"
    edits = [
        ("pyproject.toml", "py-modules = []", 'packages = {find = {where = ["src"]}}'),
        ("tests/conftest.py", "PROJECT / program", f'PROJECT / "{folder}" / program'),
        *((f"{folder}/{n}.py", f" {n}.py", f" -m {package}.{n}") for n in ("train", "shares")),
    ]
    for name, before, after in edits:
        text = (root / name).read_text()
        assert before in text
        (root / name).write_text(text.replace(before, after))
    commit(root)


ALL = [f"{a} {b} digits" for a, b in itertools.permutations(METHODS, 2)]
ROUND = [f"{a} {b} digits" for a, b in zip(METHODS, [*METHODS][1:] + [*METHODS][:1], strict=True)]


@pytest.mark.parametrize("case", represented([*ALL, "spawn fabric acme.digits"], *ROUND[::2]))
def test_a_project_in_src_is_switched_as_if_it_had_begun_with_the_other_method(
    quick: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    """It becomes what the fresh project of the other method becomes by the steps of its README."""
    a, b, package = case.split()
    root, other = (quick(tmp_path / method, method=method) for method in (a, b))
    for project in (root, other):
        grow(project, package)
    outcome = carry_out(switching(root, b))
    assert (outcome.conflicts, outcome.kept, outcome.left_out) == ({}, [], [])
    assert content(root) == content(other)
    commit(root)
    assert carry_out(switching(root, b)).is_empty


def test_what_a_team_keeps_beside_its_package_is_not_switched(
    quick: Callable[..., Path], tmp_path: Path
) -> None:
    """A copy nearer to the root, one of the package, and another project are none of its code."""
    root = quick(tmp_path / "project", method="torchrun")
    old = {path.name: path.read_text() for path in root.glob("*.py")}
    grow(root, "digits")
    write(root, {f"archive/{name}": text for name, text in old.items()})
    shutil.copytree(root / "src/digits", root / "copies/digits")
    inner = quick(tmp_path / "inner", method="accelerate")
    shutil.copytree(inner, root / "baseline", ignore=shutil.ignore_patterns(".git"))
    commit(root)
    before = content(root)
    outcome = carry_out(switching(root, "fabric"))
    assert {"src/digits/train.py", "src/digits/shares.py"} <= {*outcome.changed}
    apart = [n for n in before if n.startswith(("archive/", "copies/", "baseline/"))]
    assert not outcome.conflicts
    told = [f"`{folder}/{{0}}.py`" for folder in ("archive", "copies/digits")]
    line = f"like the old `src/digits/{{0}}.py`, and as before: {', '.join(told)}"
    assert outcome.notes[-2:] == [line.format("shares"), line.format("train")]
    assert [name for name in apart if content(root)[name] != before[name]] == []


def test_a_flat_folder_is_told_from_its_copy_by_the_tests_that_start_its_programs(
    quick: Callable[..., Path], tmp_path: Path
) -> None:
    root = quick(tmp_path / "project", method="torchrun")
    assert run("mkdir training && git mv *.py engine training/", root).status == 0
    shutil.copytree(root / "training", root / "archive")
    path = root / "tests/conftest.py"
    text = path.read_text()
    assert "PROJECT / program" in text
    path.write_text(text.replace("PROJECT / program", 'PROJECT / "training" / program'))
    commit(root)
    outcome = carry_out(switching(root, "fabric"))
    assert {"training/train.py", "training/shares.py"} <= {*outcome.changed}
    assert (
        outcome.notes[-1] == "like the old `training/train.py`, and as before: `archive/train.py`"
    )


def test_a_variant_that_git_does_not_follow_is_told(
    quick: Callable[..., Path], tmp_path: Path
) -> None:
    root = quick(tmp_path / "project", method="spawn")
    code = (root / "train.py").read_text()
    lines = {
        name: code.replace("    accumulate =", f"    size = {n}\n    accumulate =", 1)
        for n, name in enumerate(("train_big.py", "train_small.py"))
    }
    (root / "train.py").unlink()
    write(root, lines)
    commit(root)
    outcome = carry_out(switching(root, "accelerate"))
    (stays,) = lines.keys() - {*outcome.changed}
    assert outcome.notes[-1:] == [f"like the old `train.py`, and as before: `{stays}`"]


def test_programs_side_by_side_in_a_folder_are_started_there(
    quick: Callable[..., Path], tmp_path: Path
) -> None:
    root = quick(tmp_path / "project", method="fabric")
    path = root / "src/train.py"
    assert run("mkdir src && git mv *.py engine digits.csv.gz src/", root).status == 0
    path.write_text(path.read_text().replace(" train.py", " src/train.py"))
    commit(root)
    assert not carry_out(switching(root, "torchrun")).conflicts
    line = path.read_text().splitlines()[2]
    assert line == "torchrun --standalone --nproc-per-node 2 src/train.py"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_many_files_are_told_on_a_terminal_for_they_take_seconds(
    quick: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,
) -> None:
    root = quick(tmp_path / "project", method="spawn")
    monkeypatch.setattr(sandbox, "MANY", len(content(root)) - 1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    rehearse(switching(root, "fabric"))
    told = f"git copies {len(content(root))} files, to merge beside them\n"
    assert capsys.readouterr().err == (told if is_terminal else "")
    (root / "train.py").unlink()
    commit(root)
    rehearse(switching(root, "fabric"))
    assert capsys.readouterr().err == ""


def test_a_line_right_beside_the_method_s_own_is_no_conflict(
    quick: Callable[..., Path], tmp_path: Path
) -> None:
    """An import above and below, a dependency on either side; in a round of all methods."""
    root = quick(tmp_path / "project", method="spawn")
    for method, following in zip(METHODS, [*METHODS][1:] + [*METHODS][:1], strict=True):
        for name, (opening, _, _, _, added) in LISTS.items():
            path = root / name
            lines = path.read_text().splitlines(keepends=True)
            at = next(i for i, line in enumerate(lines) if line.startswith(opening)) + 1
            at += name != "pyproject.toml"  # the comment behind `isort: split`
            end = next(i for i in range(at, len(lines)) if not lines[i].strip())
            for i, suffix in ((end, "_below"), (at, "_above")):
                lines.insert(i, added.replace("einops", f"{method}{suffix}"))
            path.write_text("".join(lines))
        commit(root)
        assert not carry_out(switching(root, following)).conflicts
        commit(root)
        for name in LISTS:
            fresh = quick(tmp_path / f"{following} {name}", method=following) / name
            ours = re.compile(rf".*({'|'.join(METHODS)})_(above|below).*\n")
            text = (root / name).read_text()
            assert len(ours.findall(text)) == 2 * (1 + [*METHODS].index(method))
            assert ours.sub("", text) == fresh.read_text()


def test_the_library_of_the_other_method_in_another_version_is_a_conflict(
    quick: Callable[..., Path], tmp_path: Path
) -> None:
    root = quick(tmp_path / "project", method="torchrun")
    path = root / "pyproject.toml"
    comment = "    # the library of the method; with native PyTorch none\n"
    path.write_text(path.read_text().replace(comment, comment + '    "lightning==2.6.0",\n'))
    commit(root)
    assert set(carry_out(switching(root, "fabric")).conflicts) == {"pyproject.toml"}
