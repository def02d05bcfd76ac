"""A training run that advances only in its turns, so that two runs can alternate on one machine.

Two runs one after the other are minutes apart, and on a shared machine the speed drifts by 30 %
meanwhile. Stopped and continued by signals they alternate every half second, and the drift cancels.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Self

LIMIT = 240  # seconds on the clock from the start to the end of a run, some five times its need


class Run:
    """A program, whatever processes it starts, and its lines `step N ...` on stdout."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.timer = Timer(LIMIT, self.kill)
        self.timer.start()

    def __enter__(self) -> Self:
        """Wait for the first line, which comes after the start and the first steps, and pause."""
        self.wait_for_line()
        self.send(signal.SIGSTOP)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.timer.cancel()
        self.kill()

    def turn(self) -> float:
        """Go on until the next line, then pause; gives the seconds on the clock."""
        begin = time.perf_counter()
        self.send(signal.SIGCONT)
        self.wait_for_line()
        seconds = time.perf_counter() - begin
        # it may get on by a millisecond before it stops: the same for every run
        self.send(signal.SIGSTOP)
        return seconds

    def wait_for_line(self) -> None:
        """Read to the next line about a step; raises CalledProcessError where the run ends."""
        assert self.process.stdout is not None, "it was opened as a pipe"
        for line in self.process.stdout:
            if line.startswith("step "):
                return
        self.kill()
        raise subprocess.CalledProcessError(self.process.wait(), self.command)

    def kill(self) -> None:
        """End the run's processes; none is left, even if it was paused."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the run.

        Not to the process group: torchrun's workers lead groups of their own.
        """
        if self.process.poll() is None:
            for pid in family(self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


def family(pid: int) -> list[int]:
    """A process, its children, their children and so on; parents stand before their children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # it has just ended
        return []
    return [pid, *(member for child in children for member in family(int(child)))]
