"""What the other tests would see if the code were wrong: each fault here must be found.

A test that cannot fail proves nothing. These break one line of a project, as people do.
"""

import json
import os
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import cost
from conftest import (
    environment,
    fork,
    free_port,
    largest_difference,
    make,
    metrics,
    represented,
    start,
    train,
    weights,
)
from probe import FLAGS, make_probe
from scaffold.catalog.methods import METHODS

LAUNCHED = [method for method in METHODS if method != "spawn"]  # spawn has one machine


def breaking(path: Path, old: str, new: str) -> None:
    """Replace text that must be there once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} has {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def right_and_wrong(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run directories of the probe as it is, and with means of means and unreduced validation."""
    parent = tmp_path_factory.mktemp("controls")
    right = make_probe(parent / "right", "torchrun")
    wrong = make_probe(parent / "wrong", "torchrun")
    breaking(
        wrong / "train.py", 'sums["loss"].backward()', '(sums["loss"] / sums["targets"]).backward()'
    )
    breaking(wrong / "train.py", "world_size / totals.targets", "torch.tensor(1 / accumulate)")
    text = (wrong / "train.py").read_text()
    training, validation = text.split("# ---- 6. validate")
    validation = validation.replace("            dist.all_reduce(totals.flat)\n", "")
    (wrong / "train.py").write_text(f"{training}# ---- 6. validate{validation}")
    flags = [*FLAGS, "--steps", 4]
    first = train(right, parent / "a", *flags, forked=True)
    return first, train(wrong, parent / "b", *flags, forked=True)


def test_a_mean_of_means_would_be_seen(right_and_wrong: tuple[Path, Path]) -> None:
    right, wrong = (metrics(path)[0]["grad_norm"] for path in right_and_wrong)
    assert abs(right - wrong) > 1e-3


def test_validation_sums_of_one_rank_would_be_seen(right_and_wrong: tuple[Path, Path]) -> None:
    right, wrong = (metrics(path)[-1]["val_samples"] for path in right_and_wrong)
    assert 0 < wrong < right


def test_a_padded_sampler_would_be_seen() -> None:
    data = TensorDataset(torch.arange(360))
    samplers: list[DistributedSampler[Any]] = [
        DistributedSampler(data, 7, rank, shuffle=False) for rank in range(7)
    ]
    loaders = [DataLoader(data, 32, sampler=sampler) for sampler in samplers]
    assert sum(len(batch) for loader in loaders for (batch,) in loader) == 364


def test_validation_that_draws_random_numbers_of_training_would_be_seen(tmp_path: Path) -> None:
    """Row 6: a model with dropout would then depend on how often it is validated."""
    flags = ["--steps", 6, "--dropout", 0.2, "--checkpoint_every", 6]
    differences = {}
    for name in ("right", "wrong"):
        project = make(tmp_path / name, "torchrun", tracker="none")
        if name == "wrong":
            own = "        generator=torch.Generator().manual_seed(mix(config.seed, *stream)),\n"
            breaking(project / "engine/dataloader.py", own, "")
        ends = [
            train(
                project,
                tmp_path / f"{name}-{every}",
                *flags,
                "--validate_every",
                every,
                processes=1,
                forked=True,
            )
            for every in (2, 6)
        ]
        differences[name] = largest_difference(*(weights(end, 6) for end in ends))
    assert differences["right"] == 0
    assert differences["wrong"] > 1e-6


def two_machines(project: Path, folder: Path, forked: bool) -> list[Path]:
    """Train on two machines of one process each, both of local rank 0: what each has written.

    Each has a copy of the project, so that whatever a rank writes stays with it.
    """
    copies = [Path(copytree(project, folder / name)) for name in ("first", "second")]
    command = ["train.py", *map(str, FLAGS), "--steps", "4"]
    if forked:
        ended = fork(["torchrun", "--nproc-per-node", "2", *command], folder, copies)
        assert ended.status == 0, ended.err
        assert ended.out.count("step 4  loss") == 1
    else:
        under_torchrun(copies, command)
    return [copy / "runs/default" for copy in copies]


def under_torchrun(copies: list[Path], command: list[str]) -> None:
    """Let an agent on each machine start its rank."""
    port, processes = free_port(), []
    for node, copy in enumerate(copies):
        where = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
        nodes = ["--nnodes", "2", "--node-rank", str(node), "--nproc-per-node", "1"]
        cost.note(cost.LAUNCHES)
        processes.append(start(["torchrun", *nodes, *where, *command], copy, environment()))
    try:
        ends = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    # when all is done torchrun's agents leave in turn; the later may miss the other's store
    failed = [
        err
        for (_, err), process in zip(ends, processes, strict=True)
        if process.returncode and "DistNetworkError" not in err
    ]
    assert not failed, failed
    assert "step 4  loss" in ends[0][0]
    assert "step" not in ends[1][0]


@pytest.mark.parametrize("forked", represented([True, False], True))
@pytest.mark.parametrize("method", LAUNCHED)
def test_one_rank_of_two_machines_writes(method: str, forked: bool, tmp_path: Path) -> None:
    """Row 14."""
    first, second = two_machines(make_probe(tmp_path / "probe", method), tmp_path, forked)
    assert metrics(first)[-1]["step"] == 4
    manifest = json.loads((first / "checkpoints/step-000000004/manifest.json").read_text())
    assert manifest["world_size"] == 2
    assert not second.exists()


def test_saving_on_each_local_rank_0_would_be_seen(tmp_path: Path) -> None:
    project = make_probe(tmp_path / "probe", "torchrun")
    path = project / "engine/checkpoint.py"
    text = path.read_text()
    before, after = text.split("    problem: list[str | None] = [None]\n")
    after = after.replace("dist.get_rank() == 0", "dist.get_node_local_rank() == 0", 1)
    path.write_text(f"{before}    problem: list[str | None] = [None]\n{after}")
    _, second = two_machines(project, tmp_path, forked=True)
    assert (second / "checkpoints/step-000000004/state.pt").exists()


@pytest.mark.parametrize(
    ("processes", "methods"),
    represented([(1, ("torchrun", "fabric")), (2, tuple(METHODS))], (1, ("torchrun", "fabric"))),
)
def test_compiling_changes_the_speed_and_not_what_is_saved(
    projects: dict[str, Path], processes: int, methods: tuple[str, ...], tmp_path: Path
) -> None:
    """Row 15: bare names in the checkpoint, under every method."""
    flags = ["--steps", 3, "--width", 8, "--micro_batch_size", 32, "--log_every", 1]
    how: dict[str, Any] = {"processes": processes, "forked": True}
    eager = train(projects["torchrun"], tmp_path / "eager", *flags, **how)
    # what is compiled need not be fast, and is so in a third of the time
    compiler = tmp_path / "c++"
    compiler.write_text(f'#!/bin/sh\nexec {os.environ.get("CXX", "c++")} "$@" -O0\n')
    compiler.chmod(0o755)
    for method in methods:
        compile_ = (*flags, "--compile")
        how |= {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "CXX": str(compiler)}
        compiled = train(projects[method], tmp_path / method, *compile_, **how)
        assert weights(compiled, 3).keys() == weights(eager, 3).keys()
        assert largest_difference(weights(compiled, 3), weights(eager, 3)) < 1e-4
        losses = [[line["loss"] for line in metrics(path)[:3]] for path in (compiled, eager)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert any((tmp_path / "cache").rglob("*.cpp")), "something was compiled"
