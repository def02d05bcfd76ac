"""Which rank failed first, of those that fail together: a word in the store where they have met."""

import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from engine import peers, run_state
from engine.errors import is_first

ASKING = "ask_store"  # the name of a thread


def key() -> str:
    return f"first-cause-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"


def told(store: dist.TCPStore) -> bool:
    """Whether a rank has said why it failed."""
    return bool(store.check([key()]))


def agree(mine: str, wait: bool) -> str:
    """What the first rank to fail told the store of this run; `mine`, where nobody else has.

    wait: whether this failure is only what the failure of another rank looks like from here.
    """
    if os.environ.get("MASTER_PORT", "0") == "0":
        return mine  # the only rank
    first = [mine]
    # a thread, for torch tries for ten seconds to reach a store that goes while it is asked
    asking = threading.Thread(target=ask_store, name=ASKING, args=(first, wait), daemon=True)
    with suppress(RuntimeError):  # no thread can be started any more
        asking.start()
        asking.join(3)
    return first[0]


def ask_store(first: list[str], wait: bool) -> None:
    """Put the first cause where that of this rank stands, unless it is the first itself."""
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ["MASTER_PORT"])
    # the rank that held the store may be gone
    with suppress(RuntimeError, OSError):
        # refused at once, where torch would try again and again
        socket.create_connection((host, port), timeout=3).close()
        store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=3))
        end = time.monotonic() + (1 if wait else 0)
        while time.monotonic() < end and not store.check([key()]):
            time.sleep(0.1)
        first[0] = store.compare_set(key(), "", first[0]).decode()


def keep(run_dir: Path, cause: str) -> None:
    """Leave the first cause to the ranks that outlive this one, in the run directory.

    Where that is gone and the store goes with this rank, they would tell the end of this one as the
    cause: then they end first, as any launcher lets them.
    """
    run_state.tell_failure(run_dir, cause)
    holds_store = is_first() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if holds_store and run_state.failure(run_dir) is None:
        peers.end()
