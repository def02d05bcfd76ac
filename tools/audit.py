"""Look up the known holes of what the tool and its projects install, in the tested versions.

    python tools/audit.py

constraints.txt has every version: of the tool, of each method and tracker, and of the tests.
Where pypi.org, which knows the holes, cannot be reached, a line says so and nothing has failed.
"""

import subprocess
import sys
import urllib.request
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
SERVICE = "https://pypi.org/pypi/click/8.1.7/json"  # one of the pages that pip-audit reads
WAIT = 20  # seconds


def why_not() -> str | None:
    """Why the service cannot be asked, or None."""
    try:
        urllib.request.urlopen(SERVICE, timeout=WAIT).close()
    except OSError as error:
        return str(error)
    return None


def main() -> None:
    """End with pip-audit's status: 1 where a version has a known hole."""
    reason = why_not()
    if reason:
        print(f"audit skipped: {SERVICE} cannot be reached: {reason}")
        return
    with TemporaryDirectory() as folder:  # its own environment: it brings 30 packages
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin/python")
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([python, "-m", "pip", "install", *quiet, "pip-audit>=2.9"], check=True)
        # each line has its version, so there is nothing to resolve and nothing to install
        words = ["--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
        done = subprocess.run([python, "-m", "pip_audit", *words], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
