"""Which samples each rank sees, computed: what a project's shares.py shows by running."""

from scaffold.catalog.methods import METHODS
from scaffold.errors import USAGE, ScaffoldError

LARGEST = 100_000  # of each number: a table that nobody can read takes long to make


def shares(method: str, samples: int, batch_size: int, ranks: int) -> list[list[list[int]]]:
    """Positions that each rank reads until every sample was read once: [step][rank] -> positions.

    The samples are not shuffled. A position p is sample p % samples of epoch p // samples: where
    the samples are no multiple of a step's, the last step goes on with the next epoch.
    batch_size counts samples per rank and step.
    Raises ScaffoldError when a number is not in 1..LARGEST.
    """
    for name, number in (("samples", samples), ("batch-size", batch_size), ("ranks", ranks)):
        if not 1 <= number <= LARGEST:
            fact = f"--{name} `{number}` is not in 1..{LARGEST}"
            raise ScaffoldError(fact, f"set --{name} to a number in it, as of a small run", USAGE)
    size = batch_size * ranks
    steps = -(-samples // size)
    return [
        [
            _share(METHODS[method].block_shares, step * size, batch_size, rank, ranks)
            for rank in range(ranks)
        ]
        for step in range(steps)
    ]


def _share(block: bool, first: int, batch_size: int, rank: int, ranks: int) -> list[int]:
    if block:
        return list(range(first + rank * batch_size, first + (rank + 1) * batch_size))
    return list(range(first + rank, first + batch_size * ranks, ranks))


def brief(positions: list[int], samples: int) -> str:
    """One rank's positions as text, `0, 2, ..., 18`; a `|` stands where the next epoch begins."""
    epochs: dict[int, list[int]] = {}
    for position in positions:
        epochs.setdefault(position // samples, []).append(position % samples)
    return " | ".join(_sequence(numbers) for numbers in epochs.values())


def _sequence(numbers: list[int]) -> str:
    shown = list(map(str, numbers))
    return ", ".join(shown if len(shown) < 5 else [*shown[:2], "...", shown[-1]])


def table(methods: list[str], samples: int, batch_size: int, ranks: int) -> str:
    """The shares of the methods side by side, a line per step and rank."""
    columns = [shares(method, samples, batch_size, ranks) for method in methods]
    rows = [["step", "rank", *methods]]
    for step in range(len(columns[0])):
        for rank in range(ranks):
            cells = [brief(column[step][rank], samples) for column in columns]
            rows.append([str(step + 1), str(rank), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    if samples % (batch_size * ranks):
        lines.append("|: here the next epoch begins; every sample comes once per epoch")
    return "\n".join(line.rstrip() for line in lines)
