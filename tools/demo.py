"""The README's demo: generate a project, train it on two processes, say how well it did.

python tools/demo.py [METHOD]
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from scaffold.catalog.methods import METHODS

BIN = Path(sys.executable).parent
FOLDER = Path("build").resolve()
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def main(name: str) -> None:
    """Leave a trained project in build/demo-METHOD; a project left there before is replaced."""
    project = FOLDER / f"demo-{name}"
    if name in METHODS:
        shutil.rmtree(project, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    run(["scaffold", "new", "--method", name, str(project)], Path.cwd())
    print(flush=True)
    install(project)
    run(shlex.split(METHODS[name].launch), project)
    last = json.loads((project / "runs/default/metrics.jsonl").read_text().splitlines()[-1])
    print(f"\nvalidation accuracy {last['val_accuracy']:.1%} after {last['step']} steps, {project}")


def install(project: Path) -> None:
    """Bring what the project needs into this environment, in the tested versions, and no more."""
    needs = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    quiet = ["--quiet", "--disable-pip-version-check", "--constraint", str(CONSTRAINTS)]
    subprocess.run([sys.executable, "-m", "pip", "install", *quiet, *needs], check=True)


def run(command: list[str], folder: Path) -> None:
    """Run a command of this environment; where it fails, so does the demo."""
    print("$", shlex.join(command), flush=True)
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    if gpus() < 2:  # two processes need two GPUs, or none
        environment["CUDA_VISIBLE_DEVICES"] = ""
    status = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if status:
        sys.exit(status)


def gpus() -> int:
    """How many GPUs the driver shows."""
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, check=False)
    except FileNotFoundError:
        return 0
    return len(listed.stdout.splitlines()) if listed.returncode == 0 else 0


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fabric")
