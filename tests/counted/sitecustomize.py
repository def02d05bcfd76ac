"""Python starts with this where the tests have set PYTHONPATH: it counts who imports torch.

A process that does adds a byte to the file that COUNT_TORCH names (cost.py).
"""

import os
import sys
from typing import Any


class Torch:
    """Sees the import of torch, and leaves it to others."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        if name == "torch":
            sys.meta_path.remove(self)
            # pathlib would be one import more at each start
            with open(os.environ["COUNT_TORCH"], "ab") as file:  # noqa: PTH123
                file.write(b".")


if "COUNT_TORCH" in os.environ:
    sys.meta_path.insert(0, Torch())
