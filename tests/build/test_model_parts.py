"""Parts of a network: frozen ones stay as they are to the bit, others have learning rates of their own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gisegkit.build.model_parts import freeze, parameter_groups
from gisegkit.errors import ComponentError, RecipeError
from gisegkit.workflows.resume import flat
from gisegkit.workflows.train import epochs, train

PLACE = "r.toml: train.freeze"


class Net(nn.Module):
    """Two parts, and a layer that is in neither."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.decoder = nn.Conv2d(2, 2, 1)
        self.last = nn.Conv2d(2, 1, 1)

    def forward(self, images):
        return self.last(self.decoder(self.encoder(images)))

    def parts(self):
        return {"encoder": self.encoder, "decoder": self.decoder}


def test_a_frozen_part_has_no_gradient_and_keeps_its_statistics():
    net = Net()
    freeze(net, ["encoder"], place=PLACE)
    before = copy.deepcopy(net.state_dict())
    for one in (net, copy.deepcopy(net)):
        one.train()
        assert one.training and one.decoder.training
        assert not any(module.training for module in one.encoder.modules())
        one(torch.randn(4, 1, 5, 5)).sum().backward()
        assert [name for name, value in one.named_parameters() if value.grad is None] == [
            name for name, _ in one.named_parameters() if name.startswith("encoder")
        ]
        for name, value in one.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_groups_begin_with_what_has_no_rate_of_its_own():
    net = Net()
    rest, decoder, encoder = parameter_groups(net, {"decoder": 0.5, "encoder": 0.1}, place=PLACE)
    assert rest == {"params": list(net.last.parameters())}
    assert decoder == {"params": list(net.decoder.parameters()), "lr": 0.5}
    assert encoder == {"params": list(net.encoder.parameters()), "lr": 0.1}


def test_frozen_parameters_are_in_no_group():
    net = Net()
    freeze(net, ["encoder"], place=PLACE)
    assert parameter_groups(net, {}, place=PLACE) == [*net.decoder.parameters(), *net.last.parameters()]
    groups = parameter_groups(net, {"encoder": 0.1, "decoder": 0.2}, place=PLACE)
    assert [group.get("lr") for group in groups] == [None, 0.2]


@pytest.mark.parametrize(
    ("net", "names", "message"),
    [
        (
            Net(),
            ["encode"],
            r"r.toml: train.freeze: the network has no part 'encode'; did you mean 'encoder' or",
        ),
        (nn.Conv2d(1, 1, 1), ["encoder"], r"the network Conv2d has no parts\(\), so none can be named"),
    ],
)
def test_parts_that_there_are_not(net, names, message):
    with pytest.raises(ComponentError, match=message):
        freeze(net, names, place=PLACE)
    with pytest.raises(ComponentError, match=message):
        parameter_groups(net, dict.fromkeys(names, 0.1), place=PLACE)


def test_nothing_left_to_train():
    net = Net()
    net.last.requires_grad_(False)
    with pytest.raises(ComponentError, match="with encoder, decoder frozen, nothing is left to train"):
        freeze(net, ["encoder", "decoder"], place=PLACE)


FROZEN = ('train.freeze=["encoder"]', "optimizer.lr_by_part={head = 0.02}", "train.epochs=2", "train.micro_batch=0")


@pytest.mark.slow
def test_a_run_with_a_frozen_encoder_and_a_rate_for_the_head(recipe, session, tmp_path):
    """The encoder of the checkpoint is the one that the run began with; a resumed run equals the other."""
    chosen = recipe(*FROZEN)
    started = session.experiment(chosen)
    before = copy.deepcopy(started.model.state_dict())
    groups = started.optimizer.param_groups
    assert [group["lr"] for group in groups] == [2e-3, 0.02]
    run = train(session.experiment(chosen), tmp_path / "run")
    after = run.state()["model"]
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "segmentation_head"}
    stream = epochs(session.experiment(chosen), tmp_path / "stopped")
    next(stream)
    stream.close()
    resumed = train(session.experiment(chosen), tmp_path / "stopped", resume=True)
    assert [entry["loss"] for entry in resumed.metrics()] == [entry["loss"] for entry in run.metrics()]


def test_rates_keep_their_ratio_through_a_schedule(recipe, session):
    experiment = session.experiment(recipe("optimizer.lr_by_part={encoder = 2e-4}"))
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in experiment.optimizer.param_groups])
        _ = experiment.schedule
        experiment.optimizer.step()
        experiment.schedule.step()
    assert len({rate for rate, _ in rates[1:]}) > 1
    assert [own / rest for rest, own in rates[1:]] == [pytest.approx(0.1)] * 3


def test_a_recipe_says_rates_by_part(recipe):
    chosen = recipe("optimizer.lr_by_part={encoder = 2e-4}", "optimizer.name=adamw")
    assert dict(flat(chosen.as_dict()))["optimizer.lr_by_part.encoder"] == 2e-4
    assert "lr_by_part" not in recipe().as_dict()["optimizer"]
    with pytest.raises(RecipeError, match=r"(?s)optimizer.lr_by_part.*each value a number more than 0"):
        recipe("optimizer.lr_by_part={encoder = 0}")
