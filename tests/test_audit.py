"""No release that was made to do harm is installed: not here, and in no project."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import audit


def requirements(path: Path) -> list[Requirement]:
    """All that a pyproject.toml asks for."""
    project = tomllib.loads(path.read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    return [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]


def test_no_requirement_allows_a_malicious_release(projects: dict[str, Path]) -> None:
    """And each that would have allowed it says why."""
    asked = set()
    for folder in (ROOT, *projects.values()):
        path = folder / "pyproject.toml"
        for requirement in requirements(path):
            for (name, version), advisory in audit.MALICIOUS.items():
                if requirement.name == name:
                    asked.add((folder, version))
                    assert version not in requirement.specifier, path
                    (line,) = re.findall(f'.*"{name}[<>=!].*', path.read_text())
                    assert advisory in line
    versions = [version for name, version in audit.MALICIOUS if name == "lightning"]
    assert asked == {
        (folder, version) for folder in (ROOT, projects["fabric"]) for version in versions
    }


def test_the_audit_knows_a_malicious_release_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text(
        audit.CONSTRAINTS.read_text().replace("lightning==2.6.6", "lightning==2.6.3", 1)
    )
    monkeypatch.setattr(audit, "CONSTRAINTS", path)
    monkeypatch.setattr(audit, "SERVICES", {"none": "http://127.0.0.1:9/"})
    with pytest.raises(SystemExit) as caught:
        audit.main()
    assert caught.value.code == "lightning==2.6.3 is malicious: GHSA-w37p-236h-pfx3"


def test_a_service_that_cannot_be_reached_fails_nothing_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "SERVICES", {"none": "http://127.0.0.1:9/"})
    with pytest.raises(SystemExit) as caught:
        audit.main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("audit by none skipped: http://127.0.0.1:9/ cannot")
