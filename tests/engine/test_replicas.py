"""What a network may hold, and what is refused before it trains."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.replicas import IGNORED, checksum, problems, ready


class Extra(nn.Module):
    """A layer with a state of its own."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state

    def get_extra_state(self) -> Any:
        return self.state

    def set_extra_state(self, state: Any) -> None:
        self.state = state


class Holding(nn.Module):
    """A layer with a buffer."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.register_buffer("held", tensor)


class Attention(nn.Module):
    """What it calls sparse are no gradients."""

    sparse = True


@pytest.mark.parametrize(
    ("layer", "fact", "remedy"),
    [
        (nn.Embedding(3, 2, sparse=True), "`1` (Embedding) has sparse gradients", "sparse=True"),
        (nn.EmbeddingBag(3, 2, sparse=True), "`1` (EmbeddingBag) has sparse", "sparse=True"),
        (nn.LazyLinear(3), "`1.weight` has no size yet", "build_model"),
        (nn.LazyBatchNorm1d(affine=False), "`1.running_mean` has no size yet", "build_model"),
        (Holding(torch.eye(2).to_sparse()), "`1.held` is sparse, or a view", "to_dense"),
        (Holding(torch.ones(2, 1).expand(2, 3)), "`1.held` is sparse, or a view", "clone"),
        (
            Holding(torch.ones(2, dtype=torch.complex64).conj()),
            "`1.held` is sparse",
            "resolve_conj",
        ),
        (
            Extra(nn.Linear(2, 2)),
            "`1._extra_state`, of get_extra_state, holds more",
            "dicts of them",
        ),
        (Extra({"names": {"a", "b"}}), "`1._extra_state`, of get_extra_state", "dicts of them"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    layer: nn.Module, fact: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        ready(nn.Sequential(nn.Linear(2, 2), layer))
    assert caught.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert f"error: {fact}" in told[0]
    assert remedy in told[1]


@pytest.mark.parametrize("state", [{"a": [1, 0.5, None, torch.ones(2)]}, torch.ones(1), 3])
def test_a_state_of_numbers_is_none(state: Any) -> None:
    assert problems(nn.Sequential(nn.Linear(2, 2), Extra(state), Attention())) == []


def test_what_a_team_lets_ddp_ignore_stays_ignored() -> None:
    net = nn.Sequential(nn.Linear(2, 2), Holding(torch.ones(2, dtype=torch.uint16)))
    setattr(net, IGNORED, ["own"])
    ready(net)
    assert sorted(getattr(net, IGNORED)) == ["1.held", "_orig_mod.1.held", "own"]


BYTES = torch.arange(64, dtype=torch.uint8)
SIZES = {1: "int8 uint8 float8_e4m3fn float8_e5m2", 2: "int16 uint16 float16 bfloat16"}
SIZES |= {4: "int32 uint32 float32", 8: "int64 uint64 float64 complex64", 16: "complex128"}


@pytest.mark.parametrize("name", " ".join(SIZES.values()).split())
def test_one_bit_changes_the_sum_of_any_kind_of_number(name: str) -> None:
    kind = getattr(torch, name)
    before, after = BYTES.view(kind), (BYTES + (BYTES == 17)).view(kind)
    for shape in ((-1,), (1, -1, 1)):
        assert checksum(before.reshape(shape)) != checksum(after.reshape(shape))
    assert checksum(before) == checksum(before.clone())
    assert checksum(before[0]) == checksum(before[:1])


def test_the_sum_of_a_state_sees_names_places_and_values() -> None:
    states: list[Any] = [
        *({"a": 1}, {"b": 1}, {"a": 2}, {"a": torch.ones(1)}, {"a": torch.zeros(1)}),
        *([1, 2], [2, 1], [1, [2]], "text", "texts", None, {"a": {"b": (torch.ones(2), 1)}}),
    ]
    assert len({int(checksum(state)) for state in states}) == len(states)
