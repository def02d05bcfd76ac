"""What the tests cost: the launches of projects, and the processes that import torch.

Most of the time goes into starting Python and loading torch, so these are counted, over all
workers, and printed at the end of each run. A whole run that costs more than BUDGET is red. This is
a plugin of pytest.
"""

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

LAUNCHES, FORKED, TORCH = "launches", "launches of forked ranks", "processes that imported torch"
# ratchets, by the marks that were asked for, as `make test` and `make test-all` do. Lower them when
# a change allows; raise them only with a reason in the commit. By chance some 5 % more happen.
BUDGET = {
    "not full": {LAUNCHES: 14, TORCH: 98},
    "": {LAUNCHES: 109, TORCH: 570},
}

WORKERS = 3  # that this is for, on two cores
MORE = {LAUNCHES: 4, TORCH: 12}  # of each worker beyond: what the tests of a file share

BEGIN = time.monotonic()
handle, _imports = tempfile.mkstemp(prefix="scaffold-tests-")
os.close(handle)
# what makes a process count itself (counted/sitecustomize.py)
COUNTED = {"COUNT_TORCH": _imports, "PYTHONPATH": str(Path(__file__).parent / "counted")}
_launches: Counter[str] = Counter()
_before = pytest.StashKey[Counter[str]]()
_total: Counter[str] = Counter()


def note(what: str) -> None:
    """Count a launch."""
    _launches[what] += 1


def _now() -> Counter[str]:
    return _launches + Counter({TORCH: Path(_imports).stat().st_size})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_before] = _now()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Let the report, which a worker sends, tell what the test has cost."""
    item.user_properties.append(("cost", dict(_now() - item.stash[_before])))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        for name, value in report.user_properties:
            if name == "cost" and isinstance(value, dict):
                _total.update(value)


def _exceeded(config: pytest.Config) -> list[str]:
    """What costs too much, where all tests were run."""
    option, budget = config.option, BUDGET.get(config.option.markexpr, {})
    beyond = max(0, (option.numprocesses or 1) - WORKERS)
    if option.keyword or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return []
    allowed = {name: most + beyond * MORE[name] for name, most in budget.items()}
    return [
        f"{_total[name]} {name}, {most} allowed"
        for name, most in allowed.items()
        if _total[name] > most
    ]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    Path(_imports).unlink()
    if _exceeded(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    told = [f"{count} {name}" for name, count in sorted(_total.items())]
    told.append(f"{(time.monotonic() - BEGIN) / 60:.1f} minutes")
    terminalreporter.section("cost")
    terminalreporter.write_line(", ".join(told))
    for line in _exceeded(config):
        terminalreporter.write_line(f"too many: {line} (tests/cost.py)", red=True)
