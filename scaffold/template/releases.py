"""The templates of all released versions: the one that made a project is the base of a merge."""

import re
import tarfile
import tempfile
from pathlib import Path

from scaffold import __version__
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.run import ask
from scaffold.template.bundle import TEMPLATE, release_commits
from scaffold.template.source import CHECKOUT, PACKAGE, Question, questions, template_folder

BUNDLE = PACKAGE / "_releases.bundle"  # what a wheel carries
CHANGES = PACKAGE / "_changelog.md"
HEADING = re.compile(r"^## (\d+\.\d+\.\d+)\b.*$", re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    """The version as numbers, which compare as versions do."""
    return tuple(map(int, version.split(".")))


def versions() -> list[str]:
    """All versions whose template is here, the installed one among them, the oldest first."""
    with tempfile.TemporaryDirectory() as folder:
        return sorted({*_releases(Path(folder))[1], __version__}, key=numbers)


def template_of(version: str, room: Path) -> Path:
    """A folder in the room with the template of a version.

    Raises ScaffoldError where the version is not known.
    """
    if version == __version__:
        return template_folder(room)
    repository, commits = _releases(room)
    if version not in commits:
        raise unknown(version)
    folder, archive = room / f"template-{version}", room / f"{version}.tar"
    # whatever attributes their user has given to such files
    plain = ("-c", "core.autocrlf=false", "-c", "core.attributesFile=/dev/null")
    words = (*plain, "archive", f"--output={archive}", commits[version], *TEMPLATE)
    ask(repository, *words, GIT_ATTR_NOSYSTEM="1")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


def questions_of(version: str) -> list[Question]:
    """The questions of a version. Raises ScaffoldError where it is not known."""
    if version == __version__:
        return questions()
    with tempfile.TemporaryDirectory() as folder:
        repository, commits = _releases(Path(folder))
        if version not in commits:
            raise unknown(version)
        return questions(ask(repository, "show", f"{commits[version]}:copier.yml"))


def unknown(version: str) -> ScaffoldError:
    """The error of a version whose template is not here."""
    fact = f"scaffold {version} is not known to the installed one ({__version__})"
    remedy = "pip install --upgrade scaffold-train; nothing was changed"
    return ScaffoldError(fact, remedy, PRECONDITION)


def changes(old: str, new: str) -> str:
    """What the changelog says of the versions after the old one, up to the new one."""
    path = CHANGES if CHANGES.exists() else CHECKOUT / "CHANGELOG.md"
    text = path.read_text("utf-8") if path.exists() else ""
    begins = [*HEADING.finditer(text)]
    ends = [*(match.start() for match in begins[1:]), len(text)]
    told = [
        text[match.start() : end].strip()
        for match, end in zip(begins, ends, strict=False)  # one end more, where it has nothing
        if numbers(old) < numbers(match[1]) <= numbers(new)
    ]
    return "\n\n".join(told)


def _releases(room: Path) -> tuple[Path, dict[str, str]]:
    """A repository that has the released templates, and {version: commit}, the oldest first."""
    if BUNDLE.exists():
        bare = room / "releases.git"
        if not bare.exists():
            ask(
                room,
                "-c",
                "protocol.file.allow=always",
                "clone",
                "--quiet",
                "--bare",
                str(BUNDLE),
                str(bare),
            )
        tags = ask(bare, "tag", "--list", "v*", "--sort=version:refname").split()
        return bare, {tag.removeprefix("v"): tag for tag in tags}
    if (CHECKOUT / ".git").exists() and (CHECKOUT / "copier.yml").exists():
        return CHECKOUT, release_commits(CHECKOUT)
    return room, {}
