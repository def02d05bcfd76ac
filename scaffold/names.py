"""Refuses a name that would break the project and a path that cannot be shown, with the remedy."""

import keyword
import re
import sys
from collections.abc import Collection, Iterable
from shlex import quote

from scaffold.errors import USAGE, ScaffoldError

# letters, digits and . _ - inside: what a Python package may be called (packaging.python.org)
NAME = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
LONGEST = 64  # characters; file systems end at 255 bytes, and temporary names add to it

# libraries that a project depends on or imports: under the same name it could not
LIBRARIES = {
    "accelerate", "alembic", "cattrs", "copier", "lightning", "matplotlib", "mlflow",
    "mlflow-skinny", "numpy", "pip", "pytest", "pytorch-lightning", "safetensors", "scaffold",
    "scaffold-train", "setuptools", "sqlalchemy", "tensorboard", "tomlkit", "torch",
    "torchvision", "tqdm", "transformers", "tyro", "uv", "wandb",
}  # fmt: skip
# names of devices, which Windows does not give to a folder
DEVICES = {"aux", "con", "nul", "prn", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}


def check_name(name: str) -> None:
    """Raise ScaffoldError when the name cannot be the name of a project."""
    if fault := _fault(name):
        raise _refused(fault, name)


def _fault(name: str) -> str:
    """Why the name cannot be that of a project; empty where it can."""
    module = name.replace("-", "_")
    package = re.sub(r"[-_.]+", "-", name).lower()
    if not name:
        return "the project has no name"
    if len(name) > LONGEST:
        return f"project name of {len(name)} characters is too long"
    if not NAME.match(name):
        return (
            f"project name `{printable(name)}` is not made of letters, digits, `.`, `_` and `-`, "
            "from a letter to a letter or digit"
        )
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        return f"project name `{name}` is a word of Python"
    if module in sys.stdlib_module_names or module.lower() in sys.stdlib_module_names:
        return f"project name `{name}` is a module of Python"
    if package in LIBRARIES:
        return f"project name `{name}` is a library that projects use"
    if name.lower().split(".")[0] in DEVICES:
        return f"project name `{name}` is a device on Windows"
    return ""


def _example(name: str) -> str:
    """A name like one that is refused, for a new project, too."""
    plain = "-".join(re.findall(r"[A-Za-z0-9]+", name))
    likely = (plain, f"my-{plain}", "my-project")
    return next(each for each in likely if not _fault(each) and not is_engine(each))


def is_engine(name: str) -> bool:
    """Whether it is the name of the folder `engine/` that each project has, in any spelling."""
    return re.sub(r"[-_.]+", "-", name).lower() == "engine"


def check_new_name(name: str) -> None:
    """Raise ScaffoldError when the name cannot be that of a new project."""
    fault = f"project name `{name}` is a folder that each project has" if is_engine(name) else ""
    if fault := fault or _fault(name):
        # of `.` or of a folder that others have named the path is not to be chosen
        raise _refused(
            fault, name, f", or keep the folder and give --project-name {_example(name)}"
        )


def _refused(fault: str, name: str, more: str = "") -> ScaffoldError:
    return ScaffoldError(fault, f"choose another, for example {_example(name)}{more}", USAGE)


def check_path(path: str) -> None:
    """Raise ScaffoldError when the path cannot be shown on a line, and pasted from there."""
    if not path.isprintable():
        fact = f"path `{printable(path)}` has characters that cannot be shown"
        raise ScaffoldError(fact, "choose another path; nothing was changed", USAGE)


def check_choice(what: str, answer: str, choices: Collection[str]) -> None:
    """Raise ScaffoldError when the answer is none of the choices."""
    if answer not in choices:
        fact, listed = f"{what} `{printable(answer)}` does not exist", ", ".join(choices)
        near = nearest(answer, choices)
        remedy = f"choose {near}, or another of: {listed}" if near else f"choose one of: {listed}"
        raise ScaffoldError(fact, remedy, USAGE)


def nearest(word: str, choices: Iterable[str], sure: float = 0.6) -> str:
    """The choice that a word is like; empty where it is like none. sure: 0 to 1, how like."""
    from difflib import get_close_matches  # only here: every command would start more slowly

    return next(iter(get_close_matches(word, choices, 1, sure)), "")


def pasted(path: object) -> str:
    """The path as a word of a shell that no command takes for a flag."""
    return quote(f"./{path}" if str(path).startswith("-") else str(path))


def printable(text: str) -> str:
    """The text on one line, control characters escaped."""
    return text.encode("unicode_escape").decode() if not text.isprintable() else text


def of_system(error: OSError) -> str:
    """What the system says is wrong, and with which path: of two, the one that is written."""
    what = error.strerror or str(error).partition("\n")[0]
    path = error.filename2 or error.filename
    return f"{what}: `{printable(str(path))}`" if path else what


def some(names: list[str]) -> str:
    """The first three of these names for a message, and how many more there are."""
    shown = ", ".join(f"`{printable(name)}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
