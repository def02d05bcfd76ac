"""Write the parts of README.md that are generated: the table of methods and the diff.

    python tools/readme.py

They stand between `<!-- NAME -->` and `<!-- end -->`; a test fails when they are out of date.
"""

import difflib
import re
from pathlib import Path

from scaffold.catalog.methods import METHODS

ROOT = Path(__file__).parents[1]


def methods_table() -> str:
    """The four methods as a Markdown table."""
    rows = ["| Method | | Choose it when | Adds |", "|---|---|---|---|"]
    for method in METHODS.values():
        adds = method.requires or "nothing"
        rows.append(f"| `{method.name}` | {method.title} | {method.choose_when} | {adds} |")
    return "\n".join(rows)


def methods_diff() -> str:
    """What the method changes between the train files of torchrun and Fabric."""
    a, b = (
        (ROOT / "template" / f"train_{name}.py").read_text().splitlines()
        for name in ("torchrun", "fabric")
    )
    diff = difflib.unified_diff(a, b, "torchrun/train.py", "fabric/train.py", n=0, lineterm="")
    # without the numbers of the lines: they say nothing here
    shown = [re.sub(r"^@@.*@@", "@@", line) for line in diff]
    return "\n".join(["```diff", *shown, "```"])


def generated(text: str) -> str:
    """The text of the README with its generated parts made anew."""
    for name, part in (("methods", methods_table()), ("diff", methods_diff())):
        before, rest = text.split(f"<!-- {name} -->\n")
        after = rest.split("\n<!-- end -->", maxsplit=1)[1]
        text = f"{before}<!-- {name} -->\n{part}\n<!-- end -->{after}"
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(generated(readme.read_text()))
