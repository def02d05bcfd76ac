"""As many ranks train as were asked for, whatever another launch or a library has left."""

import json
import os
import re
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import cost
from config import Config
from conftest import (
    FOREIGN,
    Result,
    environment,
    fork,
    launch,
    launch_line,
    make_each,
    represented,
    run,
    train,
    weights,
)
from engine import agreement, distributed, launcher, variables
from engine.errors import Refusal, is_first, leave_if
from engine.limits import device_problems
from scaffold.catalog.methods import METHODS

# a shell in a job, as a notebook has it
SLURM = {
    **{"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "jupyter", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
    **{"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost"},
}
ALONE = {
    **{"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "NODE_RANK": "0", "PMI_SIZE": "1"},
    **{"MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "1"},
}
POD = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "1"}
AGENT = {
    **{"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"},
    **{"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"},
    **(POD | {"MASTER_ADDR": "127.0.0.1"}),
}
LIBRARIES = {
    **{"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR", "ACCELERATE_MIXED_PRECISION": "bf16"},
    **{"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "ACCELERATE_USE_FSDP": "true"},
    **{"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_USE_MEGATRON_LM": "true"},
    **{"ACCELERATE_TORCH_DEVICE": "meta", "LT_DEVICES": "1", "LT_PRECISION": "bf16-true"},
    **{"LT_STRATEGY": "fsdp", "LT_ACCELERATOR": "tpu", "LT_NUM_NODES": "3"},
    **{"PL_SEED_WORKERS": "1", "PL_GLOBAL_SEED": "5"},
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test change what is set, and let it be as before after it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in (variables.LAUNCHER, *filter(FOREIGN.fullmatch, list(os.environ))):
        os.environ.pop(name, None)


def start(project: Path, run_dir: Path, *flags: object, **env: str) -> Result:
    """Start train.py as a person does who has no launcher."""
    words = ["python", "train.py", "--run_dir", run_dir, "--steps", 2, *flags]
    return fork([*map(str, words)], project, **env)


@pytest.mark.parametrize("method", METHODS)
def test_what_says_that_it_is_alone_counts_for_nothing(
    projects: dict[str, Path], method: str, tmp_path: Path
) -> None:
    result = start(projects[method], tmp_path, "--devices", 1, **(ALONE | SLURM))
    assert result.status == 0, result.out + result.err
    assert weights(tmp_path, 2)


@pytest.mark.parametrize("method", METHODS)
def test_what_says_that_there_are_others_is_told_at_once(
    projects: dict[str, Path], method: str, tmp_path: Path
) -> None:
    result = start(projects[method], tmp_path, **POD)
    assert result.status == 1
    assert [line for line in result.err.splitlines() if line.startswith(("error", "hint"))] == [
        "error: `WORLD_SIZE=2` says that there are other processes, but no launcher is here",
        "hint: start it once, or by torchrun; of an older launch: "
        "unset MASTER_ADDR MASTER_PORT RANK WORLD_SIZE",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", represented(METHODS, "fabric"))
def test_the_launcher_that_is_gone_is_named(
    projects: dict[str, Path], method: str, tmp_path: Path
) -> None:
    result = start(projects[method], tmp_path, **AGENT)
    assert result.status == 1
    assert "error: the launcher of this process is gone (`TORCHELASTIC_RUN_ID`)\n" in result.err
    assert re.search("hint: start again: .* unset .*TORCHELASTIC_RUN_ID", result.err)


@pytest.mark.parametrize(
    "left",
    [
        *({"WORLD_SIZE": "2"}, {"RANK": "1"}, {"LOCAL_RANK": "1"}, {"LOCAL_WORLD_SIZE": "2"}),
        *({"NODE_RANK": "1"}, {"GROUP_RANK": "1"}, {"GROUP_WORLD_SIZE": "2"}),
        *({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, SLURM | {"SLURM_PROCID": "1"}),
        *({"OMPI_COMM_WORLD_SIZE": "2"}, {"PMI_SIZE": "2"}, {"JSM_NAMESPACE_SIZE": "2"}),
        *({"TORCHELASTIC_RUN_ID": "", "RANK": "0", "WORLD_SIZE": "2"}, AGENT),
    ],
)
def test_each_variable_of_several_processes_is_named(left: dict[str, str]) -> None:
    os.environ.update(left)
    ((fact, remedy),) = variables.problems()
    assert any(f"`{name}" in fact for name in left)
    for name in re.findall(r"unset (.*)", remedy)[0].split():
        os.environ.pop(name, None)
    assert not variables.problems(), "the remedy works"
    assert is_first(), "it speaks"


@pytest.mark.parametrize(
    "left",
    [
        *({}, ALONE, SLURM, SLURM | {"SLURM_NTASKS": "8"}, {"LOCAL_RANK": "0"}, {"RANK": "none"}),
        *({"MASTER_PORT": "29500", "MASTER_ADDR": "there"}, {"WORLD_SIZE": "", "RANK": "-1"}),
        *({"TORCHELASTIC_RUN_ID": "none"}, LIBRARIES),
    ],
)
def test_nothing_is_left_of_what_does_not_count(left: dict[str, str]) -> None:
    os.environ.update(left)
    assert not variables.problems()
    assert not variables.launched()
    kept = re.compile("SLURM_.*|PMI_SIZE")
    assert not [name for name in left if name in os.environ and not kept.fullmatch(name)]


@pytest.mark.parametrize(
    "given",
    [
        AGENT | {"TORCHELASTIC_USE_AGENT_STORE": "False"},
        {variables.LAUNCHER: "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"},
    ],
)
def test_a_rank_of_a_launcher_keeps_its_variables(given: dict[str, str]) -> None:
    os.environ.update(given | LIBRARIES)
    assert not variables.problems()
    assert {name: os.environ.get(name) for name in given | LIBRARIES} == {
        name: given.get(name) for name in given | LIBRARIES
    }
    assert not is_first()


def test_torchrun_s_variables_count_where_a_python_gave_them(projects: dict[str, Path]) -> None:
    """From a shell they are left over, also where nobody can ask whether a store is there."""
    told = 'python -c "from engine import variables; print(variables.problems())"'
    given = AGENT | {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    exported = " ".join(f"{name}={value}" for name, value in given.items())
    by_shell = run(f"export {exported}; {told}; true", projects["torchrun"])
    assert "the launcher of this process is gone" in by_shell.out
    # this is a Python; and between torchrun and a rank there may be a shell
    for line in (f"{told}; true", f"bash -c '{told}; true'; true"):
        given_by_us = run(line, projects["torchrun"], env=environment(**given))
        assert given_by_us.out == "[]\n", given_by_us.err


def test_who_has_no_launcher_speaks(
    projects: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = start(projects["torchrun"], tmp_path, "--lr", -1, RANK="0")
    assert "error: lr `-1.0` is not in" in result.err
    result = fork(["python", "predict.py", "--count", "-1"], projects["torchrun"], **AGENT)
    assert "error: count `-1` is not in" in result.err
    os.environ["RANK"] = "1"
    with pytest.raises(Refusal):
        leave_if([("wrong", "do it")], status=1)
    assert capsys.readouterr().err == "error: wrong\nhint: do it\n"


def test_a_profiler_that_runs_the_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fabric trains alone in the process that was started; of mp.spawn a rank is always another."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", ModuleSpec("cProfile", None))
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert device_problems(replace(Config(), devices=2)) == variables.profiled() != []
    assert device_problems(replace(Config(), devices=1)) == []
    with pytest.raises(Refusal):
        distributed.open_store()


@pytest.mark.full
@pytest.mark.parametrize(("method", "devices"), [("spawn", "1"), ("fabric", "2")])
def test_a_profiler_that_runs_the_program_would_be_what_each_rank_runs(
    projects: dict[str, Path], method: str, devices: str
) -> None:
    words = ["-m", "cProfile", "-o", "/dev/null", "train.py", "--devices", devices]
    ended = run([sys.executable, *words], projects[method])
    # the status is the profiler's own
    assert ended.err == (
        "error: cProfile runs this program, and its ranks could not be started\n"
        "hint: start it without; --profile 2:3 shows where the time goes\n"
    )


def test_a_shell_in_a_slurm_job_trains_on_as_many_ranks_as_asked_for(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    """Fabric starts them; and it says nothing of an `srun` that nobody has asked for."""
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    env = SLURM | {"PATH": f"{srun.parent}:{environment()['PATH']}", "LT_DEVICES": "1"}
    flags = ("--run_dir", tmp_path / "run", "--steps", 2, "--micro_batch_size", 32)
    command = launch_line(projects["fabric"], *flags)
    result = run(command, projects["fabric"], env=environment(**env))
    assert result.status == 0, result.err
    assert "`srun`" not in result.out + result.err
    assert ranks_of(tmp_path / "run") == 2


def test_no_srun_is_missed_where_nobody_asked_for_slurm(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}:{environment()['PATH']}"
    result = start(projects["fabric"], tmp_path / "run", "--devices", 1, PATH=path)
    assert result.status == 0, result.err
    assert "`srun`" not in result.out + result.err


def test_srun_may_start_torchrun_and_what_is_set_beside_does_not_matter(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    """Fabric is a rank of it, as of any torchrun."""
    tasks = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "NODE_RANK": "1", "PMI_SIZE": "2"}
    os.environ.update(SLURM | tasks)
    train(projects["fabric"], tmp_path, "--steps", 2, "--micro_batch_size", 32, forked=True)
    assert ranks_of(tmp_path) == 2


def ranks_of(run_dir: Path) -> int:
    """On how many ranks a run was, that was saved at step 2."""
    path = run_dir / "checkpoints/step-000000002/manifest.json"
    return int(json.loads(path.read_text())["world_size"])


@pytest.mark.parametrize("method", represented(METHODS, "fabric", "accelerate"))
def test_no_variable_of_a_library_changes_what_the_settings_say(
    projects: dict[str, Path], method: str, tmp_path: Path
) -> None:
    flags = ("--steps", 3, "--augment", 1)
    a = train(projects[method], tmp_path / "a", *flags, forked=True)
    os.environ.update(LIBRARIES)
    b = train(projects[method], tmp_path / "b", *flags, forked=True)
    torch.testing.assert_close(weights(a, 3), weights(b, 3), rtol=0, atol=0)


@pytest.mark.parametrize("name", variables.NO_COMPILER)
def test_a_compiler_that_a_variable_switches_off_is_missed(
    name: str, projects: dict[str, Path], tmp_path: Path
) -> None:
    result = start(projects["torchrun"], tmp_path, "--compile", **{name: "1"})
    assert result.status == 2
    assert f"error: compile is set, and `{name}=1` too\nhint: unset {name}, or" in result.err


def test_another_number_of_ranks_than_asked_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 1)
    with pytest.raises(Refusal):
        agreement.Stop(Config(devices=2))
    assert "error: ranks: 1, asked for: 2\nhint: " in capsys.readouterr().err


def test_shares_of_another_number_of_ranks_are_not_shown(tmp_path: Path) -> None:
    for method, project in make_each(tmp_path).items():
        with (project / "engine/distributed.py").open("a") as file:
            file.write("\n\ndist.get_world_size = lambda: 5\n")
        ended = launch(project, program="shares.py", forked=True)
        assert ended.status != 0, method
        assert ended.err.startswith("error: ranks: 5, asked for: 2\nhint: "), ended.err
        assert ended.out == "", method


def test_ranks_that_torchrun_starts_anew_meet_in_a_store_of_their_own() -> None:
    """In its agent's they would find what those before them have told each other."""
    agent = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    given = AGENT | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(agent.port)}
    for restarts, more, leaves in (
        ("0", {}, False),
        ("1", {"GROUP_WORLD_SIZE": "2"}, False),
        ("1", {"TORCHELASTIC_USE_AGENT_STORE": "False"}, False),
        ("1", {}, True),
    ):
        ports = set()
        for rank in ("0", "1"):
            os.environ.update(given | {"RANK": rank, "TORCHELASTIC_RESTART_COUNT": restarts})
            os.environ.update({"GROUP_WORLD_SIZE": "1"} | more)
            launcher.leave_old_store()
            ports.add(os.environ["MASTER_PORT"])
            assert os.environ["TORCHELASTIC_USE_AGENT_STORE"] == str(
                not leaves and "TORCHELASTIC_USE_AGENT_STORE" not in more
            )
        assert len(ports) == 1
        assert (ports == {str(agent.port)}) is not leaves


def test_machines_that_start_different_numbers_are_refused(tmp_path: Path) -> None:
    os.environ.update(AGENT | {"WORLD_SIZE": "3"})
    ((fact, _),) = device_problems(Config(run_dir=tmp_path))
    assert fact == "ranks `3`, but processes here x machines: 2 x 1"


def test_accelerate_launch_that_starts_too_few_is_refused() -> None:
    os.environ.update(ACCELERATE_MIXED_PRECISION="no", MASTER_ADDR="127.0.0.1", MASTER_PORT="29500")
    ((fact, remedy),) = variables.problems()
    assert fact.startswith("`accelerate launch` was asked for several processes")
    assert remedy.startswith("torchrun ")


@pytest.mark.full
def test_accelerate_launch_on_a_cpu_starts_too_few(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    line = f"accelerate launch --cpu --num_processes 2 train.py --run_dir {tmp_path} --steps 2"
    cost.note(cost.LAUNCHES)
    result = run(line, projects["accelerate"], env=environment(CUDA_VISIBLE_DEVICES="-1"))
    assert result.status == 1
    assert "error: `accelerate launch` was asked for several processes" in result.err
