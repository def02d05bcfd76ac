"""A program that is asked, of which nothing is left after its time."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Self

from scaffold.signals import end_if_signalled

LARGEST = 2**20  # bytes of an answer
LOOK = 0.02  # seconds between two looks at whether it has ended


class Program:
    """A program at work beside this one; it is gone when a `with` is left."""

    def __init__(self, command: list[str]) -> None:
        self.begin = time.monotonic()
        self.out, self.err = TemporaryFile(), TemporaryFile()  # noqa: SIM115  # `end` closes them
        self.process: subprocess.Popen[bytes] | OSError
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self.out,
                stderr=self.err,
                start_new_session=True,
            )
        except OSError as error:
            self.process = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self.process, subprocess.Popen) and self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end(self, seconds: float) -> tuple[str, str, int]:
        """(stdout, stderr, status), at the latest so many seconds after its start.

        Raises ScaffoldError where a signal comes meanwhile.
        """
        with self.out, self.err:
            if isinstance(self.process, OSError):
                return "", str(self.process), 127
            try:
                while (status := self.process.poll()) is None:
                    if time.monotonic() > self.begin + seconds:
                        return "", f"no answer in {seconds:.0f} s", 124
                    end_if_signalled()
                    time.sleep(LOOK)
            finally:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            said = []
            for file in (self.out, self.err):
                file.seek(0)
                said.append(file.read(LARGEST).decode(errors="replace"))
            return said[0], said[1], status
