"""Renders the template into a folder; alone in importing copier, which takes half a second."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from copier import Settings, run_copy
from plumbum import local

from scaffold.signals import end_if_signalled
from scaffold.template.verify import verify


def render(template: Path, answers: dict[str, str], folder: Path) -> Path:
    """The template rendered in a new folder of a room, and verified.

    The user's own copier settings have no say, and nothing is run.
    """
    end_if_signalled()
    with copier_alone(folder.parent):
        run_copy(
            str(template),
            folder,
            answers,
            defaults=True,
            quiet=True,
            settings=Settings(),
            unsafe=False,
        )
    end_if_signalled()
    verify(folder)
    return folder


@contextmanager
def copier_alone(room: Path) -> Iterator[None]:
    """Keep what copier has for a moment in the room, and git from it.

    It would ask git whether the template is a repository, and then something about each file.
    """
    before, tempfile.tempdir = tempfile.tempdir, str(room)
    try:
        with local.env(PATH=str(room)):
            yield
    finally:
        tempfile.tempdir = before
