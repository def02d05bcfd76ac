"""`scaffold shares` computes what a project's loaders do, for any numbers; shares.py shows it."""

import itertools
import json
import os
from pathlib import Path

import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st

from conftest import launch, scaffold
from engine.sampler import ShardedBatches
from scaffold.catalog.methods import METHODS
from scaffold.catalog.shares import shares

SOAK = "SOAK" in os.environ
SMALL = st.integers(1, 40)


def test_the_table_of_the_article() -> None:
    interleaved = [[list(range(0, 20, 2)), list(range(1, 20, 2))]]
    for method in ("spawn", "torchrun", "fabric"):
        assert shares(method, samples=20, batch_size=10, ranks=2) == interleaved
    assert shares("accelerate", samples=20, batch_size=10, ranks=2) == [
        [list(range(10)), list(range(10, 20))]
    ]


@given(samples=SMALL, batch_size=SMALL, ranks=st.integers(1, 5))
def test_they_are_the_batches_of_the_loaders(samples: int, batch_size: int, ranks: int) -> None:
    for method in METHODS:
        computed = shares(method, samples, batch_size, ranks)
        for rank in range(ranks):
            mine = ShardedBatches(samples, batch_size, rank, ranks, seed=0, shuffle=False)
            if method == "accelerate":
                whole = ShardedBatches(samples, batch_size * ranks, 0, 1, seed=0, shuffle=False)
                mine = BatchSamplerShard(whole, ranks, rank, split_batches=True)
            read = itertools.islice(mine, len(computed))
            expected = [[sample for _, sample in batch] for batch in read]
            found = [[position % samples for position in step[rank]] for step in computed]
            assert found == expected


@given(samples=SMALL, batch_size=SMALL, ranks=st.integers(1, 5))
def test_every_sample_comes_once_before_the_next_epoch(
    samples: int, batch_size: int, ranks: int
) -> None:
    for method in METHODS:
        steps = shares(method, samples, batch_size, ranks)
        positions = sorted(position for step in steps for share in step for position in share)
        assert positions == list(range(len(positions)))
        assert samples <= len(positions) < samples + batch_size * ranks


def test_all_four_stand_side_by_side() -> None:
    assert scaffold("shares").out.splitlines() == [
        "step  rank  spawn          torchrun       fabric         accelerate",
        "1     0     0, 2, ..., 18  0, 2, ..., 18  0, 2, ..., 18  0, 1, ..., 9",
        "1     1     1, 3, ..., 19  1, 3, ..., 19  1, 3, ..., 19  10, 11, ..., 19",
    ]


def test_numbers_that_do_not_divide_show_where_the_next_epoch_begins() -> None:
    result = scaffold("shares", "--method", "fabric", "--samples", 7, "--batch-size", 2)
    assert result.out.splitlines() == [
        "step  rank  fabric",
        "1     0     0, 2",
        "1     1     1, 3",
        "2     0     4, 6",
        "2     1     5 | 0",
        "|: here the next epoch begins; every sample comes once per epoch",
    ]


def test_shares_as_json() -> None:
    result = scaffold(*["shares", "--samples", "4", "--batch-size", "2", "--json"])
    assert json.loads(result.out) == {
        method: [[[0, 1], [2, 3]]] if method == "accelerate" else [[[0, 2], [1, 3]]]
        for method in METHODS
    }


@pytest.mark.parametrize("number", [0, -1, 10**9])
@pytest.mark.parametrize("flag", ["samples", "batch-size", "ranks"])
def test_numbers_out_of_range_are_refused(flag: str, number: int) -> None:
    result = scaffold("shares", f"--{flag}", number)
    assert result.status == 2
    assert result.err.startswith(f"error: --{flag} `{number}` is not in 1..100000\nhint: set ")


@pytest.mark.parametrize(
    ("method", "workers"),
    [*((method, 0) for method in METHODS if SOAK or method == "accelerate"), ("spawn", 1)],
)
def test_a_project_shows_which_samples_are_read_whatever_is_done_to_them(
    projects: dict[str, Path], method: str, workers: int
) -> None:
    """The augmentation of images would fail on the numbers that stand for the samples."""
    flags = ("--augment", 2, "--workers", workers)
    result = launch(projects[method], *flags, program="shares.py", forked=True)
    assert result.status == 0, result.err
    ((first, second),) = shares(method, samples=20, batch_size=10, ranks=2)
    assert result.out.splitlines() == [
        f"step 1 rank {rank}: {', '.join(map(str, share))}"
        for rank, share in enumerate((first, second))
    ]
