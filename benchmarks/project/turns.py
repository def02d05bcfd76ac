"""A training run that advances only in its turns, so that two runs can alternate on one machine.

Two runs one after the other are half a minute apart, and the speed of a shared machine drifts by
30 % meanwhile. Stopped and continued by signals they alternate every half second.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import Self

LIMIT = 240  # seconds on the clock from a run's start to its end, some five times what it needs


class Run:
    """A program, whatever processes it starts, and its lines `step N ...` on stdout."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.command, self.folder, self.environment = command, folder, environment
        self.process: subprocess.Popen[str] | None = None
        self.timer = Timer(LIMIT, self.kill)
        self.errors = TemporaryFile("w+")  # noqa: SIM115, closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()
        self.kill()
        self.errors.close()

    def turn(self) -> float:
        """Start or go on, up to the next line, and pause; gives the seconds on the clock.

        Raises CalledProcessError where the program ends or reaches the limit.
        """
        begin = time.perf_counter()
        if self.process is None:
            self.start()
        self.send(signal.SIGCONT)
        self.wait_for_line()
        seconds = time.perf_counter() - begin
        # it gets on by a millisecond before it stops: the same for every run
        self.send(signal.SIGSTOP)
        return seconds

    def start(self) -> None:
        """Start the program; from now on it has LIMIT seconds."""
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
        )
        self.timer.start()

    def wait_for_line(self) -> None:
        """Read up to the next line about a step."""
        assert self.process is not None, "it has been started"
        assert self.process.stdout is not None, "stdout is a pipe"
        for line in self.process.stdout:
            if line.startswith("step "):
                return
        self.kill()
        error = subprocess.CalledProcessError(self.process.wait(), self.command)
        self.errors.seek(0)
        error.add_note(self.errors.read())
        raise error

    def kill(self) -> None:
        """End the run's processes, also when they are paused."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the run.

        Not to the process group: torchrun's workers lead groups of their own.
        """
        if self.process is not None and self.process.poll() is None:
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
