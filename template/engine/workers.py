"""The processes that load data for a rank: how they start, and that they end with it."""

import os
import sys
from multiprocessing import forkserver, parent_process
from threading import Thread

from engine import output, signals

HEAVY = ("torch", "lightning.fabric", "accelerate")  # seconds to load


def end_with_parent(_worker: int) -> None:
    """Let a loader's worker end with its rank, however that ends.

    torch looks at the parent, which is the forkserver here; and that lives as long as its workers.
    """
    output.guard(output.PATIENCE)  # a warning must not wait for a reader that pauses
    rank = parent_process()
    assert rank is not None, "a worker has been started by a rank"

    def end() -> None:
        rank.join()
        os._exit(1)

    Thread(target=end, daemon=True).start()


def start_forkserver() -> None:
    """Start what starts the loader's workers, all deaf to signals: the rank alone is to answer.

    Launchers and terminals signal every process that they find, and a rank without its workers
    cannot finish the step. What is blocked here stays so in the processes that are started. It
    loads once what takes long, and a worker that it forks has that already.
    """
    forkserver.set_forkserver_preload([name for name in HEAVY if name in sys.modules])
    signals.deafen()
    forkserver.ensure_running()
    signals.hear()
