"""A project runs nothing that a checkpoint brings, and tells no secret.

SOAK=1 (make soak) tries more names.
"""

import io
import os
import pickle
import re
import subprocess
import tomllib
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.collect_env
import yaml
from torch import nn

from config import Config
from conftest import TEMPLATE, examples, fork, launch, make, represented
from engine import checkpoint, checksum, inference, storage
from engine.settings import to_toml
from model import BEST, build_model
from optimizer import build_optimizer
from probe import Run, make_probe, wait_until
from scaffold.catalog.methods import METHODS
from scaffold.errors import ScaffoldError
from scaffold.names import check_name
from scaffold.ops.create import new

# what torch says about old formats, which are attacks here
pytestmark = pytest.mark.filterwarnings("ignore:.*(torch.jit|pickle protocol|TorchScript)")

SOAK = "SOAK" in os.environ
Planted = Callable[[str], Path]  # attack -> checkpoint


class Call:
    """What a pickle calls as it is loaded: function(*arguments)."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class State:
    """What a pickle gives to the object that it has made, by BUILD."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return nn.Identity, (), self.state


def saved(state: Any, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def with_another_pickle(archive: bytes, name: str, content: bytes) -> bytes:
    file = io.BytesIO(archive)
    with zipfile.ZipFile(file, "a") as whole:
        whole.writestr(name, content)
    return file.getvalue()


def scripted(state: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    net = nn.Linear(2, 2)
    torch.jit.save(torch.jit.script(net), file)
    return with_another_pickle(file.getvalue(), "archive/more.pkl", pickle.dumps(state))


# a whole state, a shell command that leaves a trace -> what stands in state.pt
ATTACKS: dict[str, Callable[[dict[str, Any], str], bytes]] = {
    "os.system": lambda state, line: saved(state | {"model": Call(os.system, line)}),
    "eval": lambda state, line: saved(
        state | {"model": Call(eval, f"__import__('os').system({line!r})")}
    ),
    "a function of torch": lambda state, line: saved(
        state | {"model": Call(torch.utils.collect_env.run, line)}
    ),
    "a class of the standard library": lambda state, line: saved(
        state | {"more": Call(subprocess.Popen, ["sh", "-c", line])}
    ),
    "in the optimizer": lambda state, line: saved(
        state | {"optimizer": {"state": {}, "param_groups": Call(os.system, line)}}
    ),
    "in the random states": lambda state, line: saved(
        state | {"random": [{**state["random"][0], "cuda": Call(os.system, line)}]}
    ),
    "deep": lambda state, line: saved(
        state
        | {"model": OrderedDict(state["model"], deep=[{1: ({"x": [Call(os.system, line)]},)}])}
    ),
    "in a key": lambda state, line: saved(state | {"more": {(1, Call(os.system, line)): 1}}),
    "in an array of objects": lambda state, line: saved(
        state | {"more": np.array([Call(os.system, line)], dtype=object)}
    ),
    "in what an object is given": lambda state, line: saved(
        state | {"more": State({"training": Call(os.system, line)})}
    ),
    "torch's older format": lambda state, line: saved(
        state | {"model": Call(os.system, line)}, _use_new_zipfile_serialization=False
    ),
    "no file of torch": lambda state, line: pickle.dumps(state | {"more": Call(os.system, line)}),
}
# what is refused, too, and what is read; a careless reader would run neither
STRANGE: dict[str, Callable[[dict[str, Any], str], bytes]] = {
    "TorchScript": lambda state, line: scripted(state | {"more": Call(os.system, line)}),
    "no state": lambda state, line: saved([*state, line]),
}
OTHERS: dict[str, Callable[[dict[str, Any], str], bytes]] = {
    "another pickle": lambda state, line: with_another_pickle(
        saved(state), "archive/more.pkl", pickle.dumps(Call(os.system, line))
    ),
}


@pytest.fixture
def planted(alone: None, tmp_path: Path) -> Planted:  # noqa: ARG001
    """A function: the checkpoint of a run with an attack in it that would make a file `harmed`."""
    config = Config(run_dir=tmp_path / "run", width=8)
    net = build_model(config)
    checkpoint.save(1, checkpoint.Parts(net, build_optimizer(net, config)), config, {}, BEST, True)
    (config.run_dir / "config.toml").write_text(to_toml(config))
    folder = config.run_dir / "checkpoints/step-000000001"

    def plant(attack: str) -> Path:
        content = (ATTACKS | STRANGE | OTHERS)[attack](
            storage.read(folder), f"touch {tmp_path}/harmed"
        )
        (folder / "state.pt").write_bytes(content)
        files = {"state.pt": checksum.size_and_crc32(folder / "state.pt")}
        text = storage.manifest_text(storage.facts(folder) | {"files": files})
        (folder / "manifest.json").write_text(text)
        assert storage.damage(folder, storage.facts(folder)) is None
        return folder

    return plant


def load_to_train(folder: Path) -> None:
    config = Config(run_dir=folder.parents[1], width=8)
    net = build_model(config)
    checkpoint.load(folder, checkpoint.Parts(net, build_optimizer(net, config)), config)


def load_to_predict(folder: Path) -> None:
    inference.load(build_model, BEST, folder.parents[1], torch.device("cpu"))


@pytest.mark.parametrize("use", [load_to_train, load_to_predict])
@pytest.mark.parametrize("attack", ATTACKS | STRANGE)
def test_what_a_checkpoint_would_run_is_not_run_and_told_in_two_lines(
    attack: str,
    use: Callable[[Path], None],
    planted: Planted,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = planted(attack)
    with pytest.raises(SystemExit) as caught:
        use(folder)
    assert caught.value.code == 1
    fact, remedy = capsys.readouterr().err.splitlines()
    assert fact.startswith(f"error: {folder}/state.pt holds more than tensors and numbers")
    assert remedy.startswith("hint: it may come from somebody who means harm")
    assert not (tmp_path / "harmed").exists()
    if attack in STRANGE:
        return
    # a careless reader runs it
    if attack == "no file of torch":
        pickle.loads((folder / "state.pt").read_bytes())
    else:
        torch.load(folder / "state.pt", weights_only=False)
    assert wait_until((tmp_path / "harmed").exists, 5)


@pytest.mark.parametrize("use", [load_to_train, load_to_predict])
@pytest.mark.parametrize("attack", OTHERS)
def test_what_nobody_reads_in_a_checkpoint_is_not_run_either(
    attack: str, use: Callable[[Path], None], planted: Planted, tmp_path: Path
) -> None:
    use(planted(attack))
    assert not (tmp_path / "harmed").exists()


def test_a_start_and_predict_refuse_a_checkpoint_with_code_in_it(
    planted: Planted, tmp_path: Path
) -> None:
    project = make(tmp_path / "digits", "spawn", tracker="none")
    run_dir = planted("in the random states").parents[1]
    started = launch(project, "--run_dir", run_dir, "--width", 8, forked=True)
    asked = fork(["python", "predict.py", "--run_dir", str(run_dir)], project)
    for result in (started, asked):
        assert result.status == 1
        errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
        assert [" holds more than tensors and numbers" in line for line in errors] == [True]
        assert "Traceback" not in result.err
    assert not (tmp_path / "harmed").exists()


CANARY = "canary-5d0a1c7e"
SECRETS = {
    "MY_API_TOKEN": CANARY,
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "WANDB_API_KEY": CANARY * 3,  # at least 40 characters
    "MLFLOW_TRACKING_PASSWORD": CANARY,
    "HF_TOKEN": CANARY,
    **{"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": "", "MLFLOW_EXPERIMENT_NAME": ""},
}


@pytest.mark.parametrize(
    ("method", "tracker"),
    represented(
        zip(METHODS, ["none", "tensorboard", "wandb", "mlflow"], strict=True),
        ("fabric", "wandb"),
    ),
)
def test_a_run_that_fails_tells_no_secret(method: str, tracker: str, tmp_path: Path) -> None:
    """Rank 0, which has the tracker, raises; for a run that ends well see test_tracker.py."""
    project = make_probe(tmp_path / "digits", method)
    copyfile(TEMPLATE / "trackers" / tracker / "tracker.py", project / "tracker.py")
    run_dir = project / "runs" / "default"
    run_dir.parent.mkdir()
    fault = {"PROBE_FAULT": "raise", "PROBE_RANK": "0"}
    ended = Run(project, run_dir, forked=True, **fault, **SECRETS)
    assert "a value that nobody expected" in ended.result.err
    assert CANARY not in ended.result.out + ended.result.err
    files = [path for path in project.rglob("*") if path.is_file()]
    assert run_dir / "run_state.json" in files
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


NAMES = (
    *("on", "off", "y", "n", "yes", "no", "true", "null", "nan", "inf", "e1", "x0", "a.b-c_d"),
    *("A..b", "Null", "TRUE", "a--b__c", "o0", "x" * 64),
)


@pytest.mark.parametrize("method", METHODS)
def test_a_name_is_the_same_string_in_every_file(method: str, tmp_path: Path) -> None:
    """Also one that YAML takes for a truth value, for nothing, or for a number."""
    each = NAMES[list(METHODS).index(method) :: len(METHODS)]
    for name in NAMES if SOAK else each[:: examples(quick=2, full=1, soak=1)]:
        check_name(name)
        root = tmp_path / name
        new(root, {"project_name": name, "method": method}, git=False)
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        answers = yaml.safe_load((root / ".copier-answers.yml").read_text())
        assert project["name"] == answers["project_name"] == name
        assert all(isinstance(value, str) for value in answers.values())
        workflow = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())
        assert workflow["jobs"]["test"]["steps"][-1] == {"run": "python -m pytest"}
        readme = (root / "README.md").read_text()
        assert readme.startswith(f"# {name}\n")
        assert re.findall(r"^mkdir -p src/(\S+) ", readme, re.MULTILINE) == [
            re.sub(r"[-.]", "_", name.lower())
        ]
    for name in ("1e3", "~", "0x1", "a: b", "a#b", "$(a)", "a`b", "a\nb", "'a'"):
        with pytest.raises(ScaffoldError):
            check_name(name)
