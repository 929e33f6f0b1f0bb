"""Weights to deploy: averages over steps and epochs, against torch's own, and what a run makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from gisegkit.build.model_parts import freeze
from gisegkit.engine.averaging import WARM_UP, Average, Ema, Swa


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def images(count: int, seed: int = 0) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [3 + 2 * torch.randn(4, 1, 8, 8, generator=made) for _ in range(count)]


def train(model: nn.Module, steps: int, *, after=lambda: None, seed: int = 0) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in images(steps, seed):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        after()


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a, b) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_ema_is_torchs_with_a_decay_that_grows(decay):
    model = network()
    ema = Ema(model, decay=decay)

    def average(mean, value, count):
        kept = min(decay, (1 + float(count)) / (WARM_UP + float(count)))
        return kept * mean + (1 - kept) * value

    theirs = AveragedModel(model, avg_fn=average, use_buffers=True)
    theirs.n_averaged.fill_(1)  # at 0 torch copies the first step, where Ema averages it with the start

    def after():
        count = theirs.n_averaged.item() - 1
        theirs.avg_fn = lambda mean, value, _: average(mean, value, count) if mean.is_floating_point() else value
        ema.after_step()
        theirs.update_parameters(model)

    train(model, 7, after=after)
    with ema.applied():
        close(copied(model), {name: value.clone() for name, value in theirs.module.state_dict().items()})


def test_ema_forgets_its_random_start_within_a_short_training():
    model = nn.Linear(1, 1, bias=False)
    ema = Ema(model, decay=0.999)
    with torch.no_grad():
        model.weight.fill_(1000.0)
        ema.mean["weight"].fill_(1000.0)
        model.weight.zero_()
    shares = []
    for step in range(50):
        ema.after_step()
        shares.append(min(0.999, (1 + step) / (WARM_UP + step)))
    with ema.applied():
        assert model.weight.item() == pytest.approx(1000 * np.prod(shares), rel=1e-4, abs=1e-6)
        assert model.weight.item() < 1e-3  # 951, were the decay 0.999 from the first step


def test_swa_is_torchs_mean_of_the_last_epochs_with_statistics_of_its_own():
    model = network()
    swa, theirs, seen = Swa(model, first=3), AveragedModel(model), []
    for epoch in range(1, 6):
        train(model, 2, seed=epoch)
        swa.after_epoch(epoch, lambda: seen.append(1) or images(3, seed=9))
        if epoch >= 3:
            theirs.update_parameters(model)
    torch.optim.swa_utils.update_bn(images(3, seed=9), theirs)
    assert len(seen) == 3, "each time that the mean moves"
    with swa.applied():
        mine = copied(model)
        convolved = [nn.functional.conv2d(batch, mine["0.weight"], mine["0.bias"], padding=1) for batch in images(3, 9)]
        by_hand = torch.stack([batch.mean((0, 2, 3)) for batch in convolved]).mean(0)
        torch.testing.assert_close(mine["1.running_mean"], by_hand, rtol=1e-4, atol=1e-5)
    close(mine, dict(theirs.module.state_dict()))


def test_frozen_batch_normalization_keeps_its_statistics_in_the_mean():
    model = network()
    model.append(nn.BatchNorm2d(2))
    with torch.no_grad():
        model[1].running_mean.fill_(7.0)
        model[1].running_var.fill_(3.0)
    freeze(Parts(model), ["first"], place="x")
    model.train()
    swa = Swa(model, first=1)
    before = copied(model)
    swa.after_epoch(1, lambda: images(3))
    with swa.applied():
        after = copied(model)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(after[f"1.{name}"], before[f"1.{name}"]), "torch alone would make them 0, 1 and 0"
        assert not torch.equal(after[f"4.{name}"], before[f"4.{name}"]), "those that train are computed anew"
    assert same(copied(model), before), "nor is anything of the training changed"


class Parts(nn.Module):
    """A network that names its first two layers."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def parts(self):
        return {"first": self.layers[:2]}


def test_with_snapshots_swa_takes_those_steps_and_computes_statistics_once_an_epoch():
    """Of 2 epochs of 4 steps, the steps 2, 3 and 8, and not the ends of epochs."""
    torch.manual_seed(0)
    model = network()
    swa, taken, passes = Swa(model, first=1, snapshots=(2, 3, 8)), [], []
    for step in range(1, 9):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        swa.after_step()
        if step in (2, 3, 8):
            taken.append([weight.detach().clone() for weight in model.parameters()])
        if step % 4 == 0:
            swa.after_epoch(step // 4, lambda: passes.append(1) or images(2, seed=1))
            resumed = Swa(model, first=1, snapshots=(2, 3, 8))
            resumed.load_state_dict(swa.state_dict())
            assert (resumed.steps, resumed.count) == (step, swa.count)
            swa = resumed
    assert (swa.count, len(passes)) == (3, 2)
    means = [torch.stack(values).mean(0) for values in zip(*taken, strict=True)]
    with swa.applied():
        for weight, mean in zip(model.parameters(), means, strict=True):
            torch.testing.assert_close(weight, mean)


def test_an_epoch_without_a_snapshot_computes_no_statistics():
    swa = Swa(network(), first=1, snapshots=(5,))
    for _ in range(4):
        swa.after_step()
    swa.after_epoch(1, lambda: pytest.fail("nothing was taken in"))
    assert swa.count == 0


def test_before_its_first_epoch_swa_deploys_the_weights_of_training():
    model = network()
    swa = Swa(model, first=3)
    train(model, 2)
    swa.after_epoch(2, lambda: pytest.fail("no statistics are needed yet"))
    live = copied(model)
    with swa.applied():
        assert same(copied(model), live)


@pytest.mark.parametrize("make", [lambda model: Ema(model, decay=0.9), lambda model: Swa(model, first=1)])
def test_the_network_is_as_it_was_after_the_average_was_applied(make):
    model = network()
    average = make(model)
    train(model, 3, after=average.after_step)
    average.after_epoch(1, lambda: images(2))
    train(model, 1)
    live, tensors = copied(model), [id(value) for value in (*model.parameters(), *model.buffers())]
    with average.applied():
        deployed = copied(model)
    assert deployed.keys() == live.keys() and not same(deployed, live), "deployed keys are the network's own"
    with pytest.raises(KeyboardInterrupt), average.applied():
        raise KeyboardInterrupt
    assert same(copied(model), live)
    assert [id(value) for value in (*model.parameters(), *model.buffers())] == tensors
    assert all(module.momentum == 0.1 for module in model.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("make", [lambda model: Ema(model, decay=0.9), lambda model: Swa(model, first=1)])
def test_an_average_goes_on_from_its_state_to_the_last_bit(make):
    def run(model, average, first, last):
        for epoch in range(first, last):
            train(model, 2, after=average.after_step, seed=epoch)
            average.after_epoch(epoch, lambda: images(2))

    whole = network()
    average = make(whole)
    run(whole, average, 1, 4)
    model = network()
    stopped = make(model)
    run(model, stopped, 1, 3)
    kept = {"model": copied(model), "average": {**stopped.state_dict()}}
    kept["average"]["weights"] = {name: value.clone() for name, value in kept["average"]["weights"].items()}
    other = network()
    resumed = make(other)
    other.load_state_dict(kept["model"])
    resumed.load_state_dict(kept["average"])
    run(other, resumed, 3, 4)
    assert same(copied(other), copied(whole))
    with resumed.applied(), average.applied():
        assert same(copied(other), copied(whole))


def test_tied_weights_are_averaged_once_and_deployed_under_both_names():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    ema = Ema(model, decay=0.5)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    ema.after_step()
    live = copied(model)
    with ema.applied():
        deployed = copied(model)
    assert torch.equal(deployed["0.weight"], deployed["1.weight"])
    assert not torch.equal(deployed["0.weight"], live["0.weight"])
    assert same(copied(model), live)


def test_counters_are_copied_and_the_state_of_another_network_is_refused():
    model = network()
    ema = Ema(model, decay=0.9)
    train(model, 3, after=ema.after_step)
    with ema.applied():
        assert model[1].num_batches_tracked.item() == 3
    with pytest.raises(RuntimeError, match=r"Missing key|Unexpected key"):
        Ema(nn.Linear(1, 1), decay=0.9).load_state_dict(ema.state_dict())


def test_without_an_average_nothing_is_kept_and_nothing_changes():
    model = network()
    average = Average(model)
    average.after_step()
    average.after_epoch(1, lambda: pytest.fail("no statistics are needed"))
    live = copied(model)
    with average.applied():
        assert same(copied(model), live)
    assert average.state_dict() == {}
