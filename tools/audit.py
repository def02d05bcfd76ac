"""Look up known holes, and releases made to do harm, among what the tool and its projects install.

    python tools/audit.py

constraints.txt has every version: of the tool, of each method and tracker, and of the tests.
Where a service that knows the holes cannot be reached, a line says so and nothing has failed.
"""

import subprocess
import sys
import urllib.request
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# of each service one of the pages that pip-audit reads; osv.dev has OpenSSF's list of malicious
# releases, too, which pypi.org's has not
SERVICES = {
    "pypi": "https://pypi.org/pypi/click/8.1.7/json",
    "osv": "https://api.osv.dev/v1/vulns/GHSA-w37p-236h-pfx3",
}
# known without asking; requirements must not allow them (tests/test_audit.py)
MALICIOUS = {
    ("lightning", "2.6.2"): "GHSA-w37p-236h-pfx3",
    ("lightning", "2.6.3"): "GHSA-w37p-236h-pfx3",
}
WAIT = 20  # seconds


def malicious(constraints: str) -> list[str]:
    """A line for each version in constraints that was made to do harm."""
    pins = [line.split("#")[0].split(";")[0].strip() for line in constraints.splitlines()]
    known = {f"{name}=={version}": advisory for (name, version), advisory in MALICIOUS.items()}
    return [f"{pin} is malicious: {known[pin]}" for pin in pins if pin in known]


def why_not(address: str) -> str | None:
    """Why a service cannot be asked, or None."""
    try:
        urllib.request.urlopen(address, timeout=WAIT).close()
    except OSError as error:
        return str(error)
    return None


def ask(services: list[str]) -> bool:
    """Whether pip-audit finds nothing at any of the services."""
    with TemporaryDirectory() as folder:  # its own environment: it brings 30 packages
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin/python"))
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([python, "-m", "pip", "install", *quiet, "pip-audit>=2.9"], check=True)
        # each line has its version, so there is nothing to resolve and nothing to install
        words = ["--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
        found = False
        for service in services:
            command = [python, "-m", "pip_audit", *words, "--vulnerability-service", service]
            found = subprocess.run(command, check=False).returncode != 0 or found
    return not found


def main() -> None:
    """End with status 1 where a version has a known hole, or was made to do harm."""
    if found := malicious(CONSTRAINTS.read_text()):
        sys.exit("\n".join(found))
    services = []
    for service, address in SERVICES.items():
        if reason := why_not(address):
            print(f"audit by {service} skipped: {address} cannot be reached: {reason}")
        else:
            services.append(service)
    sys.exit(0 if not services or ask(services) else 1)


if __name__ == "__main__":
    main()
