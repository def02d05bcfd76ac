"""`scaffold doctor`: whether training would start on this machine."""

import sys
from itertools import chain
from pathlib import Path

import click

from scaffold import signals
from scaffold.errors import FAILURE
from scaffold.terminal import show_json, waiting


@click.command()
@click.option("--python", help="The Python that trains; else that of the active environment.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def doctor(python: str | None, as_json: bool) -> None:
    """See whether training would start here: variables, limits, Python, torch, GPUs, launcher.

    Two processes are really started and add up. The status is 1 where training would not start.
    """
    from scaffold.names import printable
    from scaffold.ops.doctor.checks import findings, python_of_training
    from scaffold.ops.doctor.project import look_at

    signals.hold()
    method, needs, here = look_at(Path.cwd())
    found = []
    python = python_of_training() if python is None else python
    for finding in chain(here, findings(python, method, needs, waiting)):
        found.append(finding)
        if not as_json:
            click.echo(f"{finding.state:5}{finding.name:8}{printable(finding.fact)}")
            if finding.remedy:
                click.echo(f"{'':13}hint: {finding.remedy}")
    failed = any(finding.state == "fail" for finding in found)
    if as_json:
        show_json({"starts": not failed, "findings": [finding._asdict() for finding in found]})
    if failed:
        sys.exit(FAILURE)
