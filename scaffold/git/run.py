"""Runs git, whatever repository this program was called from."""

import errno
import os
import re
import subprocess
from pathlib import Path

from scaffold.errors import FAILURE, ScaffoldError
from scaffold.names import printable

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
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or SETTINGS.fullmatch(name)
    }
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            # messages are read here, and some are taken apart
            # a look at a repository writes nothing, not even what git remembers of files
            env=environment | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"} | variables,
            input=(text or "").encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        remedy = "install git; scaffold new can do without: --no-git"
        raise ScaffoldError("git is not installed", remedy, FAILURE) from error
    # line ends and odd bytes stay as they are
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


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
