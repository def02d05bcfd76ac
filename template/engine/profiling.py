"""`--profile`: where the time of some steps goes, as a trace of each rank."""

from collections.abc import Iterator

import torch

from config import Config


def profiled(steps: range, config: Config, rank: int) -> Iterator[int]:
    """The steps in turn; of those that `profile` names, this rank writes trace-rankN.json.

    It opens in chrome://tracing or ui.perfetto.dev.
    """
    first, last = map(int, (config.profile or "0:0").split(":"))
    traced = range(max(first, steps.start), min(last + 1, steps.stop))
    if not config.profile or not traced:
        if config.profile and rank == 0:
            print(
                f"no trace is written: the steps {config.profile} of --profile are done", flush=True
            )
        yield from steps
        return
    yield from range(steps.start, traced.start)
    profiler = torch.profiler.profile()
    profiler.start()
    try:
        yield from traced
    finally:  # also when the run is stopped meanwhile
        profiler.stop()
        profiler.export_chrome_trace(str(config.run_dir / f"trace-rank{rank}.json"))
    yield from range(traced.stop, steps.stop)
