"""`scaffold doctor` sees what would keep training from starting, and says what to do."""

import json
import os
import shutil
import socket
import time
import venv
from pathlib import Path
from typing import Any

import pytest

import cost
from conftest import BIN, run, scaffold
from repositories import write
from scaffold.ops.doctor import checks, machine, variables
from scaffold.ops.doctor.finding import Finding
from scaffold.ops.doctor.project import look_at
from scaffold.template.answers import FILE

GOOD: dict[str, Any] = {
    "python": "3.11.7",
    "executable": str(BIN / "python"),
    "packages": dict.fromkeys(
        ("torch", "numpy", "tqdm", "tyro", "lightning", "accelerate"), "2.13.0"
    ),
    "torch": {"cuda": "12.8", "available": True, "gloo": True, "nccl": "2.30.1", "gpus": []},
}


def test_two_processes_really_add_up(projects: dict[str, Path]) -> None:
    result = scaffold("doctor", folder=projects["fabric"])
    assert result.status == 0, result.out
    lines = result.out.splitlines()
    assert any(line.startswith("ok   ranks   two processes add up by ") for line in lines)
    assert any(line == "ok   method  fabric: python train.py --devices 2" for line in lines)


def test_without_torch_it_says_so_and_ends_with_1(tmp_path: Path) -> None:
    """Asked for the Python of an empty environment, outside of a project."""
    venv.create(tmp_path / "venv")
    result = scaffold("doctor", "--json", "--python", "venv/bin/python", folder=tmp_path)
    told = json.loads(result.out)
    assert result.status == 1
    assert not told["starts"]
    found = {finding["name"]: finding for finding in told["findings"]}
    assert found["torch"]["state"] == "fail"
    assert found["torch"]["remedy"]
    assert "ranks" not in found
    missing = scaffold("doctor", "--python", tmp_path / "python", folder=tmp_path)
    assert missing.status == 1
    assert "Traceback" not in missing.err + missing.out


def states(facts: dict[str, Any]) -> dict[str, str]:
    return {finding.name: finding.state for finding in checks.check_torch(facts)}


def changed(**torch: Any) -> dict[str, Any]:
    return GOOD | {"torch": GOOD["torch"] | torch}


def test_what_torch_and_the_gpus_lack_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [{"name": "A", "gib": 80.0, "peers": [1]}, {"name": "A", "gib": 80.0, "peers": [0]}]
    assert set(states(changed(gpus=gpus)).values()) == {"ok"}
    other = [gpus[0], {"name": "B", "gib": 24.0, "peers": []}]
    assert states(changed(gpus=other)) | {"gpus": "warn", "links": "warn"} == states(
        changed(gpus=other)
    )
    assert states(changed(gpus=gpus, nccl=None))["nccl"] == "fail"
    assert states(changed(gloo=False))["gloo"] == "fail"
    old = GOOD | {"packages": GOOD["packages"] | {"torch": "2.5.1"}}
    assert states(old)["torch"] == "fail"
    assert states(changed(error="ImportError: libcudart.so.12"))["torch"] == "fail"
    assert checks.check_python(GOOD | {"python": "3.10.2"}).state == "fail"
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '| Driver Version: 535.1   CUDA Version: 12.2 |'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for torch, fact in (
        ({"available": False, "cuda": None}, "this torch is for the CPU"),
        ({"available": False}, "torch was built for 12.8"),
        ({"available": False, "cuda": "12.1"}, "sees none of the GPUs"),
    ):
        finding = checks.check_driver(GOOD["torch"] | torch)
        assert finding.state == "warn"
        assert fact in finding.fact
        assert finding.remedy


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_driver_that_fails_or_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(checks, "SMI_WAIT", 0.5)
    for text, fact in (
        ("echo no communication with the driver; exit 9", "no communication with the driver"),
        ("sleep 100", "no answer in 0 s"),
        (r"printf '\377\376'; exit 1", "nvidia-smi fails: "),
    ):
        program(tmp_path / "nvidia-smi", text)
        finding = checks.check_driver(GOOD["torch"] | {"available": False})
        assert finding.state == "warn"
        assert fact in finding.fact


def test_a_git_that_fails_or_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "GIT_WAIT", 0.5)
    for text, fact in (
        ("echo no licence accepted >&2; exit 69", "does not work: no licence accepted"),
        ("sleep 100", "does not work: no answer in 0 s"),
        ("exit 1", "does not work: status 1"),
    ):
        program(tmp_path / "git", text)
        finding = machine.check_git()
        assert (finding.state, finding.fact) == ("warn", fact)
        assert str(tmp_path / "git") in finding.remedy


def test_a_python_that_is_none_is_told(tmp_path: Path) -> None:
    for text, why in (
        ("echo 5", "ended with status 0"),
        ("echo '{}'", "ended with status 0"),
        ("exit 3", "ended with status 3"),
        ("kill -ILL $$", "ended by Illegal instruction"),  # as a torch for another CPU
    ):
        odd = str(program(tmp_path / "python", text))
        found = {finding.name: finding for finding in checks.findings(odd, None)}
        assert found["python"].state == "fail"
        assert found["python"].fact == f"{odd} does not run, or not with torch: {why}"
        assert "ranks" not in found
    for missing in ("/nonexistent", str(tmp_path)):
        found = {finding.name: finding for finding in checks.findings(missing, None)}
        assert found["python"].state == "fail"


def test_what_a_method_lacks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    without = GOOD | {"packages": GOOD["packages"] | {"accelerate": None}}
    (finding,) = checks.check_packages(without, "accelerate", BIN)
    assert (finding.state, finding.fact) == ("fail", "accelerate has no accelerate")
    monkeypatch.setenv("PATH", "/nowhere")
    without = GOOD | {"packages": GOOD["packages"] | {"tomlkit": None, "cattrs": None}}
    (finding,) = checks.check_packages(without, "spawn", BIN)
    assert (finding.state, finding.fact) == ("fail", "spawn has no cattrs, tomlkit")
    (finding,) = checks.check_packages(GOOD, "torchrun", Path("/nowhere"))
    assert finding.state == "fail"
    assert len(list(checks.check_packages(GOOD, None, BIN))) == 4


def test_the_packages_of_a_project_are_those_that_it_lists(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(projects["fabric"], tmp_path / "project")
    path = root / "pyproject.toml"
    always = {"cattrs", "numpy", "tomlkit", "torch", "tqdm", "tyro", "tensorboard"}
    assert {*look_at(root)[1]} == {*always, "lightning"}
    more = 'dependencies = [\n    "no.such-thing[x]>=1",\n    "on-windows; os_name == \'nt\'",'
    path.write_text(path.read_text().replace("dependencies = [", more, 1))
    told = json.loads(scaffold("doctor", "--json", folder=root).out)
    assert [one["fact"] for one in told["findings"] if one["name"] == "method"] == [
        "fabric has no no.such-thing"
    ]
    for text in ("[project", "[project]\nname = 1", "[project]\ndependencies = 1"):
        path.write_text(text)
        assert look_at(root)[1] == []


def test_limits_of_the_machine_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4096))
    finding = machine.check_files()
    assert (finding.state, finding.remedy) == ("warn", "ulimit -n 4096")
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    assert "--workers 0" in machine.check_files().remedy
    monkeypatch.setattr(machine, "SHARED", 2**60)
    assert machine.check_shared_memory().state == "warn"
    with socket.create_server(("", machine.PORT)):
        assert machine.check_port().state == "warn"
    monkeypatch.setattr("socket.gethostname", lambda: "no-such-host.invalid")
    assert machine.check_host().state == "warn"

    def silent(*_: object) -> None:  # as a name server that does not answer
        time.sleep(0.5)
        raise OSError(0, "timed out")

    monkeypatch.setattr("socket.getaddrinfo", silent)
    monkeypatch.setattr(machine, "HOST_WAIT", 0.1)
    assert "not known in 0.1 s" in machine.check_host().fact


def found_of(variables_set: dict[str, str], method: str | None) -> dict[str, Finding]:
    """What is found where these variables are set, which stay."""
    os.environ.update(variables_set)
    before = dict(os.environ)
    found = {finding.name: finding for finding in variables.findings(method)}
    assert dict(os.environ) == before
    assert all(finding.remedy for finding in found.values() if finding.state != "ok")
    return found


@pytest.mark.parametrize(
    ("left", "method", "name", "state"),
    [
        ({"LOCAL_RANK": "0"}, "fabric", "launch", "warn"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "fabric", "launch", "fail"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "torchrun", "launch", "warn"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "spawn", "launch", "fail"),
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1"}, "fabric", "slurm", "ok"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "accelerate", "library", "warn"),
        ({"LT_DEVICES": "1"}, "fabric", "library", "warn"),
        ({"TORCH_COMPILE_DISABLE": "1"}, "spawn", "compile", "warn"),
        ({"NVIDIA_TF32_OVERRIDE": "0"}, "spawn", "tf32", "warn"),
        ({"TORCH_DISTRIBUTED_DEBUG": "detail"}, "spawn", "debug", "warn"),
        ({"PYTHONSAFEPATH": "1"}, "torchrun", "path", "fail"),
        ({"PET_NNODES": "2"}, "torchrun", "flags", "warn"),
    ],
)
def test_a_variable_that_matters_to_a_start_is_found(
    monkeypatch: pytest.MonkeyPatch, left: dict[str, str], method: str, name: str, state: str
) -> None:
    clean = {key: value for key, value in os.environ.items() if key != "NVIDIA_TF32_OVERRIDE"}
    monkeypatch.setattr(os, "environ", clean)
    without = found_of({}, method)
    assert {finding.state for finding in without.values()} == {"ok"}
    found = found_of(left, method)[name]
    assert found.state == state
    if state != "ok":
        assert any(key in found.fact + found.remedy for key in left)
    elif name == "slurm":
        assert found.fact.startswith("job 1, ")


def test_a_project_with_safe_path_is_told(
    projects: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what asks the Python works all the same."""
    monkeypatch.chdir(projects["spawn"])
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    told: list[str] = []
    before = Path(cost._imports).stat().st_size
    for key, value in cost.COUNTED.items():
        monkeypatch.setenv(key, value)
    found = {f.name: f for f in checks.findings(str(BIN / "python"), "spawn", [], told.append)}
    assert found["path"].state == "fail"
    assert found["ranks"].state == "ok", found["ranks"]
    assert found["cores"].fact.startswith(f"{len(os.sched_getaffinity(0))} of ")
    assert told == [f"{BIN / 'python'} loads torch and starts two processes"]
    # most of its time
    assert Path(cost._imports).stat().st_size - before == 1, "torch is loaded once"


@pytest.mark.parametrize(
    ("name", "text", "state", "fact"),
    [
        ("train.py", "<<<<<<< HEAD\n", "fail", "a conflict is left in `train.py`"),
        ("src/d/data.py", "x\n<<<<<<< a\n", "fail", "a conflict is left in `src/d/data.py`"),
        ("torch.py", "", "fail", "`torch.py` hides a library that training imports"),
        ("numpy/__init__.py", "", "fail", "`numpy/` hides a library that training imports"),
        ("random.py", "", "warn", "`random.py` hides a module of Python"),
        (FILE, "method: fabric\n", "warn", "`_commit` is missing"),
        (FILE, "<<<<<<< HEAD\n", "warn", "is left of a merge"),
    ],
)
def test_what_hinders_a_project_is_told(
    projects: dict[str, Path], tmp_path: Path, name: str, text: str, state: str, fact: str
) -> None:
    root = shutil.copytree(projects["torchrun"], tmp_path / "project")
    assert look_at(root)[::2] == ("torchrun", [])
    write(root, {"test.py": "", "tests/types.py": "", name: text})
    (found,) = look_at(root)[2]
    assert (found.name, found.state) == ("project", state)
    assert fact in found.fact
    assert found.remedy


def test_a_project_that_cannot_start_is_told_by_the_command(
    projects: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(projects["spawn"], tmp_path / "project")
    write(root, {"torch.py": "x = 1\n"})
    told = scaffold("doctor", "--python", root / "none", "--json", folder=root)
    assert json.loads(told.out)["findings"][0]["name"] == "project"


def test_what_is_known_to_do_harm_is_found_and_not_imported() -> None:
    for version, states in (("2.6.1", []), ("2.6.2", ["fail"]), ("2.6.3", ["fail"]), ("2.6.4", [])):
        found = list(checks.check_versions(GOOD["packages"] | {"lightning": version}))
        assert [finding.state for finding in found] == states
        assert all("GHSA-w37p-236h-pfx3" in finding.fact for finding in found)
    assert not list(checks.check_versions(GOOD["packages"] | {"lightning": None}))


def test_cores_are_compared_with_the_threads_of_the_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(used: int, affinity: int, threads: str = "", ranks: int = 2) -> Finding:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        return checks.check_cores({"all": 64, "affinity": affinity, "used": used}, ranks)

    fact = "8 of 64 may be used (quota of the cgroup): threads for each of 2 ranks: 4"
    assert found(8, 64) == Finding("cores", "ok", fact)
    assert "(affinity)" in found(8, 8).fact
    assert "may be used: " in found(64, 64).fact
    assert found(8, 64, "32").remedy == "unset OMP_NUM_THREADS, or set it to 4"
    assert found(8, 64, "4").state == "ok"
    assert found(1, 64, "1").state == "warn"
    assert found(4, 64, ranks=8).state == "warn"


def test_processes_that_cannot_add_up_are_told() -> None:
    told: dict[str, Any] = {"backend": "nccl", "sum": 3, "seconds": 1.0}
    assert checks.check_ranks(told).state == "ok"
    for wrong in (told | {"sum": 2}, {"error": "no answer in 30 s"}):
        assert checks.check_ranks(wrong).state == "fail"


@pytest.mark.full
def test_a_machine_without_a_loopback_device_is_told_in_seconds(tmp_path: Path) -> None:
    apart = ["unshare", "--map-root-user", "--net"]
    if run([*apart, "true"]).status:
        # a container may forbid it, and then nothing can be taken away from one process alone
        pytest.skip("no namespace may be made here")
    begin = time.monotonic()
    result = run([*apart, str(BIN / "scaffold"), "doctor"], tmp_path)
    assert "127.0.0.1 gave no answer in 5 s: is the loopback device up?" in result.out
    assert result.status == 1
    assert time.monotonic() - begin < 100  # 120 s is what a Python that hangs has
