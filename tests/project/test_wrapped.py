"""loss_sums gets the network as each method wraps it, and works in the same way with all four."""

from pathlib import Path

import pytest

from conftest import launch, make, metrics, represented, train
from scaffold.catalog.methods import METHODS

# a share of the loss that the step changes, as README's walk has it
NETWORK = '''class Shared(nn.Module):
    """A network and the share of its loss."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("share", torch.ones(()))

    def encode(self, images: Tensor) -> Tensor:
        return self.net(images)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(images), self.share.clone()


def build_model('''
CALLED = "    scores = model(images).float()\n"
STEPS = 6
FLAGS = ("--steps", STEPS, "--log_every", 1, "--validate_every", STEPS, "--width", 2)


def made(folder: Path, method: str, called: str) -> Path:
    """A project whose network has a share, and whose loss_sums has these lines to call it."""
    project = make(folder, method, tracker="none")
    text = (project / "model.py").read_text()
    text = text.replace("from torch import", "import torch\nfrom torch import", 1)
    text = text.replace("def build_model(", NETWORK, 1)
    text = text.replace("return nn.Sequential(", "return Shared(nn.Sequential(", 1)
    text = text.replace("10),\n    )\n", "10),\n    ))\n", 1)
    assert text.count(CALLED) == 1
    text = text.replace(CALLED, f"    {called}\n")
    text = text.replace('digits, reduction="sum")', 'digits, reduction="sum") * share', 1)
    text = text.replace('"correct": correct}', '"correct": correct, "share": share * len(digits)}')
    share = '"share": float(sums["share"] / sums["targets"])'
    text = text.replace('return {"accuracy": ', f'return {{{share}, "accuracy": ', 1)
    (project / "model.py").write_text(text)
    train_file = project / "train.py"
    text, line = train_file.read_text(), "        lr = set_learning_rate("
    assert text.count(line) == 1
    train_file.write_text(
        text.replace(line, f"        net.share.fill_(step / config.steps)\n{line}")
    )
    return project


@pytest.mark.parametrize("method", represented(METHODS, "accelerate"))
def test_what_forward_gives_may_change_with_the_step(method: str, tmp_path: Path) -> None:
    project = made(tmp_path / "digits", method, "scores, share = model(images)")
    two = metrics(train(project, tmp_path / "two", *FLAGS, forked=True))
    one = metrics(train(project, tmp_path / "one", *FLAGS, processes=1, forked=True))
    for runs in (one, two):
        shares = [line["share"] for line in runs if "share" in line]
        assert shares == pytest.approx([step / STEPS for step in range(1, STEPS + 1)], rel=1e-6)
    losses = [[line["loss"] for line in run if "loss" in line] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert one[-1]["val_loss"] == pytest.approx(two[-1]["val_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("method", "called"),
    represented(
        [(method, "share = model.share.clone()") for method in METHODS if method != "fabric"]
        # of which Fabric gives attributes, but calls nothing
        + [(method, "share = 1; model.encode(images)") for method in METHODS],
        ("torchrun", "share = model.share.clone()"),
        ("fabric", "share = 1; model.encode(images)"),
    ),
)
def test_a_loss_that_looks_into_the_wrapped_network_is_told_what_to_do(
    method: str, called: str, tmp_path: Path
) -> None:
    project = made(tmp_path / "digits", method, f"{called}; scores, _ = model(images)")
    result = launch(project, "--run_dir", tmp_path / "run", *FLAGS, forked=True)
    assert result.status != 0
    told = (
        "hint: `model` is wrapped for training: loss_sums in model.py calls it, and forward gives"
    )
    assert f"\n{told} " in result.err
