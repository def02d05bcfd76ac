"""Puts the templates of all releases into a wheel and into an sdist: scaffold/_releases.bundle."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from scaffold.errors import ScaffoldError
from scaffold.template.bundle import write_bundle


class ReleasesHook(BuildHookInterface):
    """An sdist has the bundle already; without a repository there is none."""

    PLUGIN_NAME = "custom"
    room: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the bundle and add it to what is built."""
        root = Path(self.root)
        if version == "editable" or not (root / ".git").exists():
            return
        self.room = TemporaryDirectory()
        room = Path(self.room.name)
        bundle = room / "releases.bundle"
        try:
            if write_bundle(root, bundle, room):
                build_data["force_include"][str(bundle)] = "scaffold/_releases.bundle"
        except ScaffoldError as error:  # no git, or it refuses this repository
            self.app.display_warning(f"no releases are packed, so no update: {error.fact}")

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove the bundle, which is in the artifact now."""
        if self.room:
            self.room.cleanup()
