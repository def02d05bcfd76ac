"""Runs the own tests of a project, in its folder, with ranks that are forked (forked.py).

For what they say of training. That they pass with the real launchers is said of fresh projects
(project/test_training.py).

python own_tests.py, itself in a fork: with torch, lightning and accelerate loaded.
"""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from forked import fork, lead, led

Popen = subprocess.Popen


class Launch:
    """What a test asks of the process that it has started, of a leader of forked ranks."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        end, out = os.pipe()
        if command[1:3] == ["-m", "torch.distributed.run"]:
            words = ["torchrun", *command[3:]]
        else:  # train.py --devices N
            words = led(["python", *command[1:]], Path(cwd), int(command[3]))
        request = {"command": words, "folder": str(cwd), "env": env, "machines": []}
        files = dict.fromkeys(("out", "err"), f"/dev/fd/{out}")
        self.pid = fork(partial(lead, request | files))
        os.close(out)
        self.stdout = os.fdopen(end)

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        self.stdout.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def started(command: list[str], **options: Any) -> Any:
    """A process of the project, by a fork; any other as it is."""
    if "train.py" not in command:
        return Popen(command, **options)
    return Launch(command, options["cwd"], options["env"])


if __name__ == "__main__":
    patch.object(subprocess, "Popen", started).start()
    sys.path[0] = ""  # as `python -m pytest` has it
    # without capturing: what a rank prints is the test's to read
    sys.exit(pytest.main(["-q", "-s"]))
