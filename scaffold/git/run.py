"""Runs git, whatever repository this program was called from."""

import errno
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from scaffold import signals
from scaffold.errors import FAILURE, ScaffoldError
from scaffold.names import printable

LOOK = 0.1  # seconds between two looks at whether a signal waits
PATIENCE = 3  # seconds that git still has then: a step that is nearly done is done
GRACE = 2  # seconds in which it removes its locks before it is killed
LITTLE = 2**20  # bytes; a first commit needs half of it
AGAIN = "nothing was changed; mend it and run it again"
# for what is done in a project's repository: no hook runs, nothing asks for a signature
QUIET = (
    *("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"),
    *("-c", "submodule.recurse=false", "-c", "diff.orderFile=/dev/null"),
    *("-c", "core.fsmonitor=false"),
)
# what the user says of git's settings: where they are, or themselves (such as safe.directory)
SETTINGS = re.compile(
    "GIT_CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|PARAMETERS|COUNT|KEY_[0-9]+|VALUE_[0-9]+)"
)
# for a repository that was just made here: no such setting, and the trust that it is ours, which a
# disk that tells no owners would deny
ALONE = {"GIT_CONFIG_PARAMETERS": "'safe.directory=*'", "GIT_CONFIG_COUNT": "0"}
NOBODY = {  # who makes a commit that no branch will have
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "scaffold"), ("EMAIL", "scaffold@localhost"))
}


def git(
    folder: Path, *arguments: str, text: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, with a text on its stdin and more variables in its environment.

    It has a session of its own: a Ctrl-C on the terminal must not stop it half-way, and where it
    would ask there, as ssh does for what a partial clone lacks, it fails and does not wait.
    Raises ScaffoldError where a signal waits and git, as on a disk that does not answer, too.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or SETTINGS.fullmatch(name)
    }
    try:
        with signals.heard_by_child():
            process = subprocess.Popen(
                ["git", "-C", str(folder), *arguments],
                # messages are read here, and some are taken apart
                # a look at a repository writes nothing, not even what git remembers of files
                env=environment | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"} | variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
    except FileNotFoundError as error:
        remedy = "install git; scaffold new can do without: --no-git"
        raise ScaffoldError("git is not installed", remedy, FAILURE) from error
    told = _told(process, (text or "").encode("utf-8", "surrogateescape"))
    # line ends and odd bytes stay as they are
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in told)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _told(process: "subprocess.Popen[bytes]", text: bytes | None) -> tuple[bytes, bytes]:
    """What git says of a text. Raises ScaffoldError where a signal has ended it."""
    late = 0.0
    while late < PATIENCE:
        try:
            told = process.communicate(text, timeout=LOOK)
        except subprocess.TimeoutExpired:
            text = None  # it is on its way
            late += LOOK if signals.waiting() else 0
            continue
        if process.returncode < 0:
            signals.end_if_signalled()
        return told
    for number in (signals.waiting() or signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        # not for ever: a disk that does not answer keeps also who is killed
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    signals.end_if_signalled()
    raise AssertionError("a signal that waits is taken by nobody")


def ask(folder: Path, *arguments: str, text: str | None = None, **variables: str) -> str:
    """What git answers; no hook runs.

    Raises its failure as ScaffoldError, or as OSError where the disk is full.
    """
    done = git(folder, *QUIET, *arguments, text=text, **variables)
    if done.returncode != 0:
        raise failed(folder, done.stderr, AGAIN)
    return done.stdout


def failed(folder: Path, said: str, remedy: str) -> Exception:
    """The error of a git that said this in a folder and ended.

    Where git says a command that mends it, that is the remedy, before what we know of it.
    """
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < LITTLE or (disk.f_files and not disk.f_favail):
        # not all that git says then tells of the disk
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    lines = said.strip().splitlines() or ["no reason given"]
    # what follows the error are hints and consequences
    reason = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
    commands = [printable(line.strip()) for line in lines if line.startswith("\tgit ")]
    return ScaffoldError(
        f"git failed: {printable(reason)}", "; ".join([*commands, remedy]), FAILURE
    )
