"""The command line by what it says and how it ends."""

import fcntl
import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from conftest import BIN, environment, run, scaffold
from scaffold import __version__
from scaffold.catalog.choose import GOALS, advise
from scaffold.catalog.methods import METHODS
from scaffold.cli import COMMANDS
from scaffold.template.source import questions

CHOICES = "spawn, torchrun, fabric, accelerate"


def on_a_terminal(typed: str, *words: object, folder: Path, **env: str) -> tuple[int, str]:
    """Run the command line on a terminal where somebody types: (exit status, what it showed)."""
    ours, its = pty.openpty()
    command = [str(BIN / "scaffold"), *map(str, words)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**env),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so it is /dev/tty
    )
    os.close(its)
    os.write(ours, typed.encode())
    shown = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other side is closed: the program has ended
            break
    else:
        process.kill()
    os.close(ours)
    return process.wait(timeout=60), shown.decode()


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_makes_a_repository_with_one_clean_commit(tmp_path: Path) -> None:
    result = scaffold("new", "--method", "torchrun", "my proj/digits", folder=tmp_path)
    assert result.status == 5
    assert result.err == "error: `my proj` is not a folder\nhint: mkdir -p 'my proj'\n"
    (tmp_path / "my proj").mkdir()
    result = scaffold("new", "--method", "torchrun", "my proj/digits", folder=tmp_path)
    assert result.status == 0, result.err
    first_line = result.out.splitlines()[0]
    assert re.fullmatch(r"my proj/digits: native PyTorch DDP, torchrun, \d+ files", first_line)
    assert "  cd 'my proj/digits'" in result.out.splitlines()
    assert listing(tmp_path / "my proj") == ["digits"]  # nothing beside it is left
    git = run("git log --format=%s && git status --porcelain", tmp_path / "my proj/digits")
    assert git.out == f"Start from scaffold {__version__} (torchrun)\n"


def test_a_git_that_asks_on_the_terminal_fails_and_does_not_wait(tmp_path: Path) -> None:
    """As for a password, where a partial clone fetches what it lacks."""
    script = "(read password </dev/tty) 2>&- || { echo fatal: no terminal >&2; exit 128; }"
    (tmp_path / "git").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "git").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = ["new", "--defaults", "--method", "spawn", "a"]
    status, shown = on_a_terminal("", *words, folder=tmp_path, PATH=path)
    assert (status, "git failed: fatal: no terminal" in shown) == (1, True)


def test_new_inside_a_repository_or_with_no_git_makes_none(tmp_path: Path) -> None:
    assert scaffold("new", "--no-git", "--method", "spawn", "a", folder=tmp_path).status == 0
    assert not (tmp_path / "a/.git").exists()
    assert run("git init -q", tmp_path).status == 0
    result = scaffold("new", "--method", "spawn", "b", folder=tmp_path)
    assert result.status == 0
    assert result.err == "it lies in a git repository already, so nothing was committed\n"
    assert not (tmp_path / "b/.git").exists()


def test_new_commits_without_an_identity_and_in_spite_of_hooks(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "hooks/pre-commit").chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        f"[core]\nhooksPath = {tmp_path}/hooks\n[commit]\ngpgsign = true\n"
    )
    outside = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "GIT_DIR": "/nowhere"}
    outside["GIT_CONFIG_GLOBAL"] = ""  # so the one in this home counts
    result = scaffold("new", "--method", "fabric", "a", folder=tmp_path, **outside)
    assert result.status == 0, result.err
    assert run("git log --format=%an", tmp_path / "a").out == "scaffold\n"


def test_dry_run_lists_the_files_and_writes_nothing(tmp_path: Path) -> None:
    result = scaffold("new", "--method", "fabric", "--dry-run", "a", folder=tmp_path)
    assert result.status == 0
    assert {"train.py", "tests/conftest.py", "digits.csv.gz"} <= set(result.out.splitlines())
    assert listing(tmp_path) == []


def test_new_as_json_says_what_it_made_and_what_comes_next(tmp_path: Path) -> None:
    result = scaffold("new", "--method", "accelerate", "--json", "a", folder=tmp_path)
    made = json.loads(result.out)
    assert (made["path"], made["method"], made["project_name"]) == ("a", "accelerate", "a")
    assert made["next"][-1] == METHODS["accelerate"].launch
    assert sorted(made["files"]) == made["files"]
    assert (tmp_path / "a/train.py").exists()


def test_an_empty_folder_is_filled_and_a_name_may_differ_from_it(tmp_path: Path) -> None:
    (tmp_path / "2026-11").mkdir()
    words = ["new", "--method", "fabric", "--project-name", "digits", "2026-11"]
    assert scaffold(*words, folder=tmp_path).status == 0
    text = (tmp_path / "2026-11/pyproject.toml").read_text()
    assert tomllib.loads(text)["project"]["name"] == "digits"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["full"], 5, "error: `full` exists and is not empty\nhint: choose another path"),
        (["file"], 5, "error: `file` is a file\nhint: choose another path"),
        (["link"], 5, "error: `link` is a link\nhint: choose another path"),
        (["."], 5, "error: `.` exists and is not empty\nhint: choose another path"),
        (["no/where"], 5, "error: `no` is not a folder\nhint: mkdir -p no\n"),
        (["file/a"], 5, "error: `file` is not a folder\nhint: choose another path"),
        ([".."], 5, "error: `..` exists and is not empty\nhint: choose another path"),
        (["torch"], 2, "error: project name `torch` is a library that projects use\nhint: choose "
         "another, for example my-torch, or keep the folder and give --project-name my-torch\n"),
        ([""], 2, "error: the project has no name\nhint: choose another, for example my-project"),
        (["a b"], 2, "error: project name `a b` is not made of letters"),
        (["--method", "ddp", "x"], 2, "error: method `ddp` does not exist\nhint: choose"),
        (["--methd", "ddp", "x"], 2, "error: No such option"),
        (["x", "y"], 2, "error: Got unexpected extra argument (y)\nhint: scaffold new --help"),
    ],
)  # fmt: skip
def test_new_refuses_in_two_lines_and_touches_nothing(
    words: list[str], status: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    before = listing(tmp_path)
    method = [] if "--method" in words else ["--method", "fabric"]
    for dry in ([], ["--dry-run"]):
        result = scaffold("new", *method, *dry, *words, folder=tmp_path)
        assert (result.status, result.out) == (status, "")
        assert result.err.startswith(message)
        assert len(result.err.splitlines()) == 2
    assert listing(tmp_path) == before
    assert listing(tmp_path / "full") == ["precious"]


def test_new_without_a_method_off_a_terminal_names_the_choices(tmp_path: Path) -> None:
    result = scaffold("new", "a", folder=tmp_path)
    assert result.status == 2
    assert result.err == f"error: --method is missing\nhint: add --method with one of: {CHOICES}\n"
    assert scaffold("new", folder=tmp_path).err.startswith("error: PATH is missing\nhint: ")
    assert scaffold("new", "--defaults", "a", folder=tmp_path).status == 0
    assert "fabric" in (tmp_path / "a/.copier-answers.yml").read_text()


def test_new_asks_on_a_terminal_for_what_is_missing(tmp_path: Path) -> None:
    status, shown = on_a_terminal("digits\naccelerate\ntext\n\n", "new", folder=tmp_path)
    assert status == 0, shown
    assert f"How it trains on several GPUs ({CHOICES}) [fabric]: " in shown
    answers = (tmp_path / "digits/.copier-answers.yml").read_text()
    assert "example: text\nmethod: accelerate\n" in answers
    assert "tracker: tensorboard\n" in answers
    status, shown = on_a_terminal("\x04", "new", "other", folder=tmp_path)
    assert status == 130
    assert "error: interrupted" in shown
    assert listing(tmp_path) == ["digits"]


def test_a_wrong_answer_is_told_and_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").write_text("mine")
    typed = "torch\nno/where\nfull\n digits \nddp\nspawn\nimages\ntext\nexcel\nnone\n"
    status, shown = on_a_terminal(typed, "new", folder=tmp_path)
    assert status == 0, shown
    told = re.findall(r"error: (.*)\r\nhint: ", shown)
    assert told == [
        "project name `torch` is a library that projects use",
        "`no` is not a folder",
        "`full` exists and is not empty",
        "method `ddp` does not exist",
        "example `images` does not exist",
        "tracker `excel` does not exist",
    ]
    answers = (tmp_path / "digits/.copier-answers.yml").read_text()
    assert 'example: text\nmethod: spawn\nproject_name: "digits"\ntracker: none\n' in answers
    status, shown = on_a_terminal("fame\nlearning\n", "choose", folder=tmp_path)
    assert status == 0
    assert "error: goal `fame` does not exist" in shown
    status, shown = on_a_terminal("ddp\nspawn\n", "switch", folder=tmp_path / "digits")
    assert status == 0
    assert "error: method `ddp` does not exist" in shown
    assert "nothing changes" in shown


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ("new torch", "project name `torch` is a library that projects use"),
        ("new --project-name a/b c", "project name `a/b` is not made of letters"),
        ("new --tracker excel a", "tracker `excel` does not exist"),
        ("new --on-conflict ask a", "--on-conflict `ask` does not exist"),
        ("switch", "`"),
    ],
)
def test_what_was_given_is_looked_at_before_anything_is_asked(
    words: str, fact: str, tmp_path: Path
) -> None:
    status, shown = on_a_terminal("fabric\n\n\n", *words.split(), folder=tmp_path)
    assert status in (2, 5)
    assert shown.startswith(f"fabric\r\n\r\n\r\nerror: {fact}"), shown
    assert listing(tmp_path) == []


def test_without_git_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    result = scaffold("new", "--method", "fabric", "a", folder=tmp_path, PATH=str(tmp_path / "bin"))
    assert result.status == 1
    assert (
        result.err
        == "error: git is not installed\nhint: install git; scaffold new can do without: --no-git\n"
    )
    assert listing(tmp_path) == ["bin"]


def test_the_flags_of_new_are_the_questions() -> None:
    shown = scaffold("new", "--help").out
    for question in questions():
        assert f"--{question.name.replace('_', '-')} " in shown
        assert all(choice in shown for choice in question.choices)


def test_methods_compares_the_four() -> None:
    shown = scaffold("methods").out
    as_json = json.loads(scaffold("methods", "--json").out)
    assert [method["name"] for method in as_json] == list(METHODS)
    for method in as_json:
        for field in ("title", "choose_when", "choose_another_when", "launch"):
            assert method[field] in shown
    assert [method["requires"] for method in as_json] == [None, None, "lightning", "accelerate"]


@pytest.mark.parametrize(
    ("goal", "method", "without_dependencies"),
    [
        ("research", "fabric", "torchrun"),
        ("unsure", "fabric", "torchrun"),
        ("transformers", "accelerate", "torchrun"),
        ("production", "torchrun", "torchrun"),
        ("customisation", "torchrun", "torchrun"),
        ("learning", "spawn", "spawn"),
    ],
)
def test_choose_follows_the_guide(goal: str, method: str, without_dependencies: str) -> None:
    result = scaffold("choose", "--goal", goal)
    assert result.out.startswith(f"{method}: {METHODS[method].title}\n")
    assert f"scaffold new --method {method} myproj" in result.out
    for free, expected in ((False, method), (True, without_dependencies)):
        advice = advise(goal, free)
        assert advice.method == expected
        assert advice.runner_up != expected
        assert advice.runner_up in METHODS
        assert not (free and METHODS[advice.runner_up].requires)


def test_choose_asks_on_a_terminal_and_refuses_elsewhere(tmp_path: Path) -> None:
    status, shown = on_a_terminal("research\nn\n", "choose", folder=tmp_path)
    assert status == 0
    assert "torchrun: native PyTorch DDP, torchrun" in shown
    assert all(text in shown for text in GOALS.values())
    result = scaffold("choose")
    assert (result.status, result.err.splitlines()[0]) == (2, "error: --goal is missing")
    assert scaffold("choose", "--goal", "fame").status == 2


def test_version_help_and_completion() -> None:
    assert scaffold("--version").out == f"scaffold {__version__}\n"
    shown = scaffold("--help").out
    assert "Examples:" in shown
    assert (scaffold().status, scaffold().err) == (2, shown)
    assert all(f"\n  {name} " in shown for name in ("new", "methods", "choose", "shares"))
    for shell in ("bash", "zsh", "fish"):
        assert "_SCAFFOLD_COMPLETE" in scaffold("completion", shell).out
    assert scaffold("completion", "tcsh").status == 2
    typed = environment(
        COMP_WORDS="scaffold sh", COMP_CWORD="1", _SCAFFOLD_COMPLETE="bash_complete"
    )
    assert run([str(BIN / "scaffold")], env=typed).out == "plain,shares\n"


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in scaffold("--debug", "choose", "--goal", "fame").err
    assert "Traceback" not in scaffold("choose", "--goal", "fame").err


@pytest.mark.parametrize(
    "words", ["--help", "methods", "shares", "completion zsh", "choose --help"]
)
def test_it_starts_without_copier_torch_and_yaml(words: str) -> None:
    program = (
        "import sys; from scaffold.cli import main\n"
        f"sys.argv[1:] = {words.split()}\n"
        "try: main()\n"
        "finally: print(sorted({'copier', 'torch', 'yaml', 'jinja2'} & set(sys.modules)))"
    )
    result = run([sys.executable, "-c", program])
    assert result.out.splitlines()[-1] == "[]"


def test_both_names_of_the_command_are_one() -> None:
    """The package index gives `scaffold` to somebody else, so ours is called otherwise there."""
    told = {run([str(BIN / name), "--version"]).out for name in ("scaffold", "scaffold-train")}
    assert told == {f"scaffold {__version__}\n"}


def test_the_list_of_commands_says_of_each_what_its_help_begins_with() -> None:
    """It is written down, so that --help imports none of them."""
    for name, words in COMMANDS.items():
        command = getattr(import_module(f"scaffold.commands.{name}"), name)
        assert command.get_short_help_str(300).startswith(words.rstrip(".")), name


@pytest.mark.parametrize("words", ["update --to=", "diff --to=", "diff --method="])
def test_a_value_that_is_empty_is_no_default(words: str, tmp_path: Path) -> None:
    assert scaffold("new", "--method", "fabric", "digits", folder=tmp_path).status == 0
    result = scaffold(*words.split(), folder=tmp_path / "digits")
    assert (result.status, result.out) == (2, "")
    assert "` does not exist\nhint: choose one of: " in result.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("swich --method fabric", "switch --method fabric"),
        ("--debgu stats", "--debug stats"),
        ("recipes 'a b'", "recipe 'a b'"),
        ("switch fabric", "switch --method fabric"),
        ("switch fabirc --dry-run", "switch --method fabric --dry-run"),
        ("switch --metod=fabric", "switch --method=fabric"),
        ("switch --dry --method fabric", "switch --dry-run --method fabric"),
        ("update 0.8.0 --dry-run", "update --to 0.8.0 --dry-run"),
        ("update v0.8.0 dry-run", "update --to v0.8.0 --dry-run"),
        ("diff torchrun", "diff --method torchrun"),
        ("diff 0.8.0", "diff --to 0.8.0"),
        ("shares torchrun", "shares --method torchrun"),
        ("choose research", "choose --goal research"),
        ("doctor /usr/bin/python3.12", "doctor --python /usr/bin/python3.12"),
        ("recipe metrics patch", "recipe metrics --patch"),
        ("methods json", "methods --json"),
        ("new x fabric", "new x --method fabric"),
        ("new fabric x", "new --method fabric x"),
        ("new fabric x text", "new --method fabric x --example text"),
        ("new . merge --method fabric", "new . --on-conflict merge --method fabric"),
        # what is not plain
        ("foo new", "--help"),
        ("new --method fabric my test", "new --help"),
        ("switch fabric torchrun", "switch --help"),
        ("switch ddp", "switch --help"),
        ("switch --method spawn fabric", "switch --help"),
        ("abort now", "abort --help"),
        ("--json status", "status --help"),
    ],
)
def test_a_command_line_that_is_wrong_is_told_with_the_one_that_was_meant(
    words: str, meant: str, tmp_path: Path
) -> None:
    result = scaffold(*shlex.split(words), folder=tmp_path)
    assert result.status == 2
    assert result.err.splitlines()[1:] == [f"hint: scaffold {meant}"]
    if "--json" not in words:
        assert result.out == ""


def test_what_was_meant_is_in_the_json_of_a_refusal(tmp_path: Path) -> None:
    told = json.loads(scaffold("switch", "fabric", "--json", folder=tmp_path).out)
    assert told == {
        "error": "Got unexpected extra argument (fabric)",
        "hint": "scaffold switch --method fabric --json",
        "status": 2,
    }


def test_a_value_that_is_misspelt_is_told_with_the_nearest() -> None:
    result = scaffold("recipe", "metric")
    assert result.err.splitlines()[1].startswith("hint: choose metrics, or another of: ema, ")
    result = scaffold("shares", "--method", "fabirc")
    assert result.err.splitlines()[1] == f"hint: choose fabric, or another of: {CHOICES}"


@pytest.mark.parametrize("words", [("switch", "--method"), ("shares", "--ranks"), ("recipe", "-x")])
def test_a_wrong_option_hints_at_the_help_of_its_command(words: tuple[str, ...]) -> None:
    result = scaffold(*words)
    assert result.err.endswith(f"\nhint: scaffold {words[0]} --help\n")
    assert (result.status, result.out) == (2, "")
