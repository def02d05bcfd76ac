"""The tests pass whatever else a machine has."""

import sys
from pathlib import Path

import pytest

from conftest import ROOT, environment, run

# a shell in a Slurm job, what another launcher has left, a proxy that answers nobody
SET = {
    **{"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
    **{"SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "SLURM_JOB_NAME": "jupyter"},
    **{"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.255.255.1"},
    **{"MASTER_PORT": "1", "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR", "WANDB_MODE": "online"},
    **{"http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"},
    **{"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "GIT_DIR": "/nowhere"},
    **{"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
}
# sitecustomize.py of a machine with a GPU, as torch tells it; what uses it fails
ONE_GPU = """
import os, sys
from importlib import abc, machinery

class Finder(abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torch.cuda":
            return None
        spec = machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def with_one(module):
            load(module)
            module.device_count = lambda: int(os.environ.get("CUDA_VISIBLE_DEVICES") != "-1")
            module.is_available = lambda: module.device_count() == 1
        spec.loader.exec_module = with_one
        return spec

sys.meta_path.insert(0, Finder())
"""
SOME = [
    "tests/engine/test_checkpoint.py::test_the_last_two_are_kept_and_the_newest_is_found",
    *("tests/commands/test_cli.py", "tests/merge/test_three_way.py", "tests/ops/test_switch.py"),
    *("tests/project/test_traps.py", "tests/project/test_tracker.py"),
    "tests/engine/test_failures.py::test_a_run_at_work_has_its_directory_to_itself_and_is_stopped"
    "_by_its_launcher",
]


@pytest.mark.long
@pytest.mark.full
def test_what_a_machine_has_beside_the_tests_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin/srun"
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    (tmp_path / "sitecustomize.py").write_text(ONE_GPU)
    (tmp_path / "ignored").write_text("*.gz\n*.toml\n")
    (tmp_path / ".gitconfig").write_text(
        f"[core]\n\texcludesFile = {tmp_path}/ignored\n\tautocrlf = true\n"
        "[commit]\n\tgpgSign = true\n[init]\n\tdefaultBranch = trunk\n"
    )
    env = environment() | SET
    env |= {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:{env['PATH']}"}
    env["PYTHONPATH"] = str(tmp_path)
    env.pop("CUDA_VISIBLE_DEVICES", None)
    del env["GIT_CONFIG_GLOBAL"], env["GIT_CONFIG_NOSYSTEM"], env["NO_PROXY"], env["no_proxy"]
    words = ["-m", "pytest", "-q", "-m", "not full", "-p", "no:cacheprovider", *SOME]
    result = run([sys.executable, *words], ROOT, env=env, seconds=900)
    assert result.status == 0, result.out[-5000:] + result.err[-2000:]
