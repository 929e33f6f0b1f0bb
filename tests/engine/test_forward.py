"""The forward pass: buffers that a step begins with again, and compilation that may fail."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gisegkit.engine.forward import Forward, in_short


class Mixed(nn.Module):
    """Buffers of several shapes and types, none, and one that is not contiguous."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False))
        self.register_buffer("table", torch.arange(24.0).view(1, 4, 2, 3).to(memory_format=torch.channels_last))
        self.register_buffer("flag", torch.tensor(True))
        self.register_buffer("missing", None)

    def forward(self, images):
        self.table.mul_(-1)
        self.flag.logical_not_()
        return self.layers(images)


def test_buffers_are_as_they_were_kept_and_gradients_are_gone():
    model = Mixed().train()
    forward = Forward(model)
    images = torch.rand(2, 1, 8, 8)
    forward(images)
    kept = {name: value.clone() for name, value in model.named_buffers()}
    assert {value.dtype for value in kept.values()} == {torch.float32, torch.int64, torch.bool}
    forward.snapshot_buffers()
    forward(images).sum().backward()
    assert not any(torch.equal(value, kept[name]) for name, value in model.named_buffers())
    forward.reset_for_retry()
    for name, value in model.named_buffers():
        assert torch.equal(value, kept[name]), name
    assert model.table.is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_without_buffers_begins_again_without_gradients():
    model = nn.Conv2d(1, 1, 1)
    weight = model.weight.detach().clone()
    forward = Forward(model)
    forward.snapshot_buffers()
    forward(torch.ones(1, 1, 2, 2)).sum().backward()
    assert model.weight.grad is not None
    forward.reset_for_retry()
    assert model.weight.grad is None
    assert torch.equal(model.weight, weight)


# --- compilation ----------------------------------------------------------------------------------------------------


@pytest.fixture
def graphs(monkeypatch):
    """What was compiled: the network is traced as ever, and each graph then run as it is, without a C++ compiler."""
    seen, plain = [], torch.compile

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda model: plain(model, backend=backend))
    torch.compiler.reset()
    yield seen
    torch.compiler.reset()


@pytest.mark.slow
def test_the_network_itself_stays_as_it_is(graphs):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    keys = list(model.state_dict())
    forward, images = Forward(model, compiled=True), torch.rand(2, 1, 8, 8)
    assert torch.equal(forward(images), model(images))
    assert len(graphs) == 1
    assert list(model.state_dict()) == keys
    assert forward(images).requires_grad


def test_without_being_asked_nothing_is_compiled(graphs):
    Forward(nn.Conv2d(1, 1, 1))(torch.rand(1, 1, 4, 4))
    assert graphs == []


def test_giving_up_says_why_and_leaves_the_plain_network(monkeypatch):
    def fails(model):
        raise RuntimeError("no compiler here\n\nbut a long explanation")

    monkeypatch.setattr(torch, "compile", fails)
    model, images = nn.Conv2d(1, 1, 1), torch.rand(1, 1, 4, 4)
    forward = Forward(model, compiled=True)
    with pytest.raises(RuntimeError) as caught:
        forward(images)
    note = forward.give_up(in_short(caught.value))
    assert note.startswith("train.compile = true: training continues without") and "no compiler here" in note
    assert "explanation" not in note
    assert not forward.compiled
    assert torch.equal(forward(images), model(images))


def test_an_error_without_words_has_its_type():
    assert in_short(KeyError()) == "KeyError"
    assert in_short(ValueError("\n  first\nsecond")) == "ValueError: first"
