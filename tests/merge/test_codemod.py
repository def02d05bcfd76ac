"""Imports and their uses follow a table of renames, by scope; all else stays as it is."""

import pytest

from scaffold.merge.codemod.align import aligned
from scaffold.merge.codemod.complete import completed
from scaffold.merge.codemod.rewrite import UNREADABLE, rewritten
from scaffold.template.renames import BY_RELEASE, Renames, renames_between

RENAMES = Renames(
    {"loading": "engine.dataloader", "runtime": "engine.distributed", "log": "engine.metrics"},
    {
        ("runtime", "mix"): ("engine.random_state", "mix"),
        ("log", "Old"): ("engine.metrics", "New"),
        ("config", "gone"): ("engine.errors", "gone"),
    },
)
CASES = {
    "a module": ("import loading\nloading.x\n", "from engine import dataloader\ndataloader.x\n"),
    "under an alias": ("import loading as c\nc.x\n", "from engine import dataloader as c\nc.x\n"),
    "a name": ("from loading import x, y as z\n", "from engine.dataloader import x, y as z\n"),
    "among others": (
        "import os, loading  # why\nloading.x\n",
        "import os\nfrom engine import dataloader  # why\ndataloader.x\n",
    ),
    "in a function": (
        "def f():\n    import loading\n    return loading.x\n",
        "def f():\n    from engine import dataloader\n    return dataloader.x\n",
    ),
    "an argument of the same name": (
        "import loading\n\ndef f(loading):\n    return loading.x\n",
        "from engine import dataloader\n\ndef f(loading):\n    return loading.x\n",
    ),
    "a name that is taken": (
        "import loading\ndataloader = loading.x\n",
        "from engine import dataloader as loading\ndataloader = loading.x\n",
    ),
    "bound twice": (
        "try:\n    import fast as log\nexcept ImportError:\n    import log\nlog.y\n",
        "try:\n    import fast as log\nexcept ImportError:\n"
        "    from engine import metrics as log\nlog.y\n",
    ),
    "in a class": (
        "class A:\n    import loading\n\nA.loading\n",
        "class A:\n    from engine import dataloader as loading\n\nA.loading\n",
    ),
    "declared global": (
        "def f():\n    global loading\n    import loading\n",
        "def f():\n    global loading\n    from engine import dataloader as loading\n",
    ),
    "in __all__": (
        "import loading\n__all__ = ['loading']\n",
        "from engine import dataloader as loading\n__all__ = ['loading']\n",
    ),
    "in an annotation that is a text": (
        "import loading\nx: 'loading.Y'\n",
        "from engine import dataloader as loading\nx: 'loading.Y'\n",
    ),
    "a name that is elsewhere": (
        "import runtime\nruntime.mix(runtime.x)\n",
        "from engine import distributed\nfrom engine.random_state import mix\nmix(distributed.x)\n",
    ),
    "no more than that name": (
        "import runtime\nruntime.mix(1)\n",
        "from engine.random_state import mix\nmix(1)\n",
    ),
    "that name is taken": (
        "import runtime\nmix = runtime.mix(1)\n",
        "from engine.random_state import mix as runtime_mix\nmix = runtime_mix(1)\n",
    ),
    "a name that is set": (
        "import runtime\nruntime.mix = ours(runtime.mix, runtime.x)\n",
        "from engine import distributed\nfrom engine import random_state\n"
        "random_state.mix = ours(random_state.mix, distributed.x)\n",
    ),
    "names of two modules": (
        "from runtime import (mix,  # a\n    prepare)\n",
        "# a\nfrom engine.random_state import mix\nfrom engine.distributed import prepare\n",
    ),
    "a renamed name": (
        "from log import Old\nOld()\n",
        "from engine.metrics import New\nNew()\n",
    ),
    "a renamed name of a module": (
        "import log\nlog.Old()\n",
        "from engine import metrics\nmetrics.New()\n",
    ),
    "all names": (
        "from runtime import *\n",
        "from engine.distributed import *\nfrom engine.random_state import *\n",
    ),
    "on one line": (
        "if True: import loading; loading.x\n",
        "if True: from engine import dataloader; dataloader.x\n",
    ),
    "a form of several lines": (
        "from loading import (\n    x,  # ours\n    y,\n)\n",
        "from engine.dataloader import (\n    x,  # ours\n    y,\n)\n",
    ),
    "texts and comments": ("'import loading'  # loading.x\n", "'import loading'  # loading.x\n"),
    "in parentheses": (
        "import loading, runtime\ndef f():\n    return(loading).x or(runtime.mix)\n",
        "from engine import dataloader\nfrom engine.random_state import mix\n"
        "def f():\n    return(dataloader).x or(mix)\n",
    ),
    "with a comment in it": (
        "import runtime\n(runtime\n # why\n .mix(1))\n",
        "from engine import random_state\n(random_state\n # why\n .mix(1))\n",
    ),
    "bound twice, of a name that is elsewhere": (
        "try:\n    import fast as runtime\nexcept ImportError:\n    import runtime\nruntime.mix\n",
        "try:\n    import fast as runtime\nexcept ImportError:\n"
        "    from engine import distributed as runtime\nruntime.mix\n",
    ),
    "once more by its name": (
        "import runtime\nfrom runtime import mix\nruntime.mix\n",
        "from engine.random_state import mix as runtime_mix\n"
        "from engine.random_state import mix\nruntime_mix\n",
    ),
    "other line ends": ("import log\r\nlog.y\r\n", "from engine import metrics\r\nmetrics.y\r\n"),
}
IN_A_PACKAGE = {
    "modules": (
        "from digits import loading, other\nloading.x\n",
        "from digits.engine import dataloader\nfrom digits import other\ndataloader.x\n",
    ),
    "with all its dots": (
        "import digits.runtime\ndigits.runtime.mix(digits.runtime.x)\n",
        "import digits.engine.distributed\nimport digits.engine.random_state\n"
        "digits.engine.random_state.mix(digits.engine.distributed.x)\n",
    ),
    "the package itself": (
        "import digits\ndigits.log.Old(digits.runtime.mix)\n",
        "import digits\nimport digits.engine.metrics\nimport digits.engine.random_state\n"
        "digits.engine.metrics.New(digits.engine.random_state.mix)\n",
    ),
    "of a module that stays": (
        "from . import config as c\nc.gone(c.here)\n",
        "from . import config as c\nfrom .engine.errors import gone\ngone(c.here)\n",
    ),
    "without a space": ("from .import loading\n", "from .engine import dataloader\n"),
    "from where it is": (
        "from . import loading\nfrom .runtime import mix\nfrom .config import x\nloading.y\n",
        "from .engine import dataloader\nfrom .engine.random_state import mix\n"
        "from .config import x\ndataloader.y\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_imports_and_uses_follow(case: str) -> None:
    before, after = CASES[case]
    assert rewritten(before.encode(), RENAMES, "mine", "mine").code.decode() == after


@pytest.mark.parametrize("case", IN_A_PACKAGE)
def test_they_follow_in_a_package(case: str) -> None:
    before, after = IN_A_PACKAGE[case]
    renames = RENAMES.under("digits")
    assert rewritten(before.encode(), renames, "digits.mine", "digits.mine").code.decode() == after


def test_relative_imports_follow_a_file_that_moves_itself() -> None:
    code = b"from .runtime import x\nfrom .config import y\nimport torch\n"
    made = rewritten(code, RENAMES.under("digits"), "digits.log", "digits.engine.metrics").code
    assert made == b"from .distributed import x\nfrom ..config import y\nimport torch\n"


def test_what_may_have_moved_is_told() -> None:
    code = b"import runtime\nsetattr(runtime, 'mix', 1)\n"
    code += b"if x:\n    import log\nelse:\n    log = 1\nlog.Old\n"
    made = rewritten(code, RENAMES, "mine", "mine")
    assert b"setattr(distributed, 'mix', 1)" in made.code
    assert made.unsure == [
        ("log.Old", "engine.metrics.New"),
        ("runtime.mix", "engine.random_state.mix"),
    ]


def test_relative_imports_of_a_package_that_is_the_root_stay_so() -> None:
    made = rewritten(b"from . import log\nfrom .runtime import x\n", RENAMES, "mine", "mine")
    assert made.code == b"from .engine import metrics\nfrom .engine.distributed import x\n"


UNREAD = (b"print 1\n", b"# r\xe9sum\xe9\nimport log\n", b"# coding: foobar\nlog\n", b"\xff\xfei\0")


@pytest.mark.parametrize("code", UNREAD)
def test_what_cannot_be_read_is_told(code: bytes) -> None:
    with pytest.raises(UNREADABLE):
        rewritten(code, RENAMES, "mine", "mine")


def test_a_module_that_lies_beside_the_file_is_another() -> None:
    code = b"import loading\nimport log\n"
    made = rewritten(code, RENAMES, "tools.run", "tools.run", frozenset({"loading"})).code
    assert made == b"import loading\nfrom engine import metrics\n"


OLD = "import os\nimport a\nimport b\nfrom c import x\n\nX = 1\n"
NEW = "import os\nfrom engine import a, b\nfrom engine.c import w, x\n\nX = 1\n"
TODAY = Renames({"a": "engine.a", "b": "engine.b", "c": "engine.c"})


def merged(mine: str) -> str:
    """The imports of the project where only they have changed: those that it would have."""
    old, ours = (rewritten(t.encode(), TODAY, "m", "m").code for t in (OLD, mine))
    base, found = aligned(old, ours, NEW.encode(), "m")
    assert base.decode() == NEW
    return found.decode()


def test_the_imports_of_a_team_stand_beside_ours() -> None:
    assert merged(OLD) == NEW
    mine = OLD.replace("import b\n", "# why\nimport mine  # this\nimport b\n")
    expected = NEW.replace("a, b\n", "a, b\n# why\nimport mine  # this\n")
    assert merged(mine) == expected
    mine = OLD.replace("import b\n", "import b  # noted\n")
    assert merged(mine) == NEW.replace("from engine import", "# noted\nfrom engine import")
    mine = OLD.replace("import x\n", "import x, y\n")
    assert merged(mine) == NEW.replace("w, x\n", "w, x\nfrom engine.c import y\n")


def test_an_import_that_a_team_has_removed_stays_so() -> None:
    mine = OLD.replace("import b\n", "").replace("from c import x", "from mine import x")
    assert merged(mine) == (
        "import os\nfrom engine import a\nfrom mine import x\nfrom engine.c import w\n\nX = 1\n"
    )


def test_what_both_sides_bind_is_left_to_git() -> None:
    old, new = OLD.encode(), NEW.encode()
    mine = OLD.replace("import os\n", "import os\nfrom mine import w\n").encode()
    assert aligned(old, mine, new, "m") == (old, mine)

    mine = OLD.replace("import os\n", "import os\nimport w\n").encode()
    assert aligned(old, mine, new, "m") == (old, mine)
    mine = OLD.replace("X = 1\n", "def w():\n    pass\n").encode()
    assert aligned(old, mine, new, "m") == (old, mine)
    both = OLD.replace("import x\n", "import x\nfrom mine import x\n")
    assert merged(both) == NEW.replace("w, x\n", "w, x\nfrom mine import x\n")


def test_a_statement_of_a_team_stays_behind_the_imports_before_it() -> None:
    mine = OLD.replace("from c import x\n", "b.DEBUG = True\nfrom c import x\n")
    assert merged(mine) == NEW.replace("a, b\n", "a, b\nb.DEBUG = True\n")
    mine = OLD.replace("from c import x\n", "from c import x\nb.DEBUG = True\nimport os\n")
    assert merged(mine).index("DEBUG") > merged(mine).index("w, x")


def test_what_a_file_has_lost_and_uses_is_imported() -> None:
    left = {"mix": ("engine.random_state", "mix"), "gone": ("engine.b", "here")}
    code = b"import os\n\ndef f():\n    return mix(gone)\n"
    assert completed(code, left) == code.replace(
        b"os\n", b"os\nfrom engine.b import here as gone\nfrom engine.random_state import mix\n"
    )
    code = b'"""Doc."""\n\n\ndef f():\n    return mix(1)\n\n\ndef g(mix):\n    return mix\n'
    assert completed(code, left) == code.replace(
        b'"""Doc."""\n', b'"""Doc."""\nfrom engine.random_state import mix\n'
    )
    for code in (b"import os\nmix = 1\nmix\n", b"import os\n<<<<<<< a\nmix\n", b"os.mix\n"):
        assert completed(code, left) == code


def test_the_tables_of_several_releases_make_one() -> None:
    """What 0.1.0 had in a module of its own, 0.2.0 elsewhere, and 0.4.0 in the engine."""
    found = renames_between("0.1.0", "0.4.0")
    assert found.of("runtime", "Log") == ("engine.metrics", "Log")
    assert found.of("config", "parse") == ("engine.settings", "parse")
    assert found.of("checkpoint", "save") == ("engine.checkpoint", "save")
    assert found.of("data", "build_datasets") == ("data", "build_datasets")
    assert renames_between("0.2.0", "0.3.0").modules == {}
    assert renames_between("0.3.0", "0.4.0").modules == BY_RELEASE["0.4.0"].modules
    there_and_on = Renames({"a": "b"}, {("a", "x"): ("c", "y")}).then(
        Renames({"b": "d", "c": "e"}, {("c", "y"): ("f", "z"), ("b", "v"): ("g", "v")})
    )
    assert there_and_on.modules == {"a": "d", "c": "e"}
    assert there_and_on.of("a", "x") == ("f", "z")
    assert there_and_on.of("a", "v") == ("g", "v")
    assert there_and_on.of("a", "w") == ("d", "w")
