"""Pieces of a forward pass: how they are cut, whose they are, and the running statistics after all of them."""

from __future__ import annotations

import pytest
import torch
from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import nn

from gisegkit.build.model_parts import freeze
from gisegkit.engine.pieces import Pieces, RunningStatistics, at_once, edges, owners, synchronize
from gisegkit.engine.step import MicroBatching
from gisegkit.errors import TrainingError


@pytest.mark.parametrize(
    ("count", "pieces", "least", "expected"),
    [
        (8, 4, 1, [0, 2, 4, 6, 8]),
        (7, 2, 1, [0, 4, 7]),
        (3, 4, 1, [0, 1, 2, 3]),
        (1, 4, 1, [0, 1]),
        (7, 4, 2, [0, 2, 5, 7]),
    ],
)
def test_pieces_are_as_equal_as_can_be(count, pieces, least, expected):
    assert edges(count, pieces, least=least) == expected


@pytest.mark.parametrize(
    ("pieces", "size", "expected"),
    [(4, 4, [0, 1, 2, 3]), (4, 3, [0, 0, 1, 2]), (4, 2, [0, 0, 1, 1]), (2, 4, [0, 2]), (1, 4, [0]), (4, 1, [0] * 4)],
)
def test_each_process_has_neighbors(pieces, size, expected):
    assert owners(pieces, size) == expected


def test_a_batch_in_one_piece_is_the_plain_forward_pass():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.5))
    images = torch.rand(4, 1, 8, 8)
    torch.manual_seed(3)
    expected = network(images)
    for pieces in (Pieces(network, MicroBatching(4)), at_once):
        torch.manual_seed(3)
        assert torch.equal(pieces(network, images), expected)


def test_batch_normalization_sees_a_piece_and_draws_belong_to_it():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))
    images = torch.rand(5, 1, 8, 8) * torch.arange(1, 6).view(5, 1, 1, 1)
    torch.manual_seed(3)
    found = Pieces(network, MicroBatching(5, pieces=2))(network, images)
    for piece, values in ((found[:2], images[:2]), (found[2:], images[2:])):
        kept = piece != 0
        normal = (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()
        assert torch.allclose(piece[kept], 2 * normal[kept], atol=1e-5)
        assert 0.3 < kept.float().mean() < 0.7
    other = torch.cat([images[:2], torch.rand(3, 1, 8, 8)])
    torch.manual_seed(3)
    again = Pieces(network, MicroBatching(5, pieces=2))(network, other)
    assert torch.equal(again[:2], found[:2]), "a piece does not depend on the others"


def test_gradients_of_pieces_are_added_up_in_float32_under_autocast():
    """As pieces of several processes are: each piece by hand, under an autocast of its own."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3))
    images = torch.rand(4, 1, 16, 16)

    def half():
        return torch.autocast("cpu", dtype=torch.bfloat16)

    expected = [torch.zeros_like(weight) for weight in network.parameters()]
    for piece in images.split(2):
        with half():
            logits = network(piece)
        logits.float().square().sum().backward()
        for added, weight in zip(expected, network.parameters(), strict=True):
            added += weight.grad
        network.zero_grad()
    with half():
        logits = Pieces(network, MicroBatching(4, pieces=2))(network, images)
    logits.float().square().sum().backward()
    assert all(torch.equal(weight.grad, one) for weight, one in zip(network.parameters(), expected, strict=True))


def test_synchronized_layers_keep_weights_names_and_activations():
    network = nn.Sequential(nn.BatchNorm2d(2), BatchNormAct2d(2), nn.Sequential(nn.BatchNorm2d(2)))
    network.parts = lambda: {"last": network[2]}
    freeze(network, ["last"], place="here")
    names, weights = list(network.state_dict()), list(network.parameters())
    synchronize(network)
    assert [type(layer) for layer in (*network[:2], network[2][0])] == [
        nn.SyncBatchNorm,
        SyncBatchNormAct,
        nn.BatchNorm2d,  # frozen
    ]
    assert list(network.state_dict()) == names and isinstance(network[1].act, nn.ReLU)
    assert all(one is other for one, other in zip(network.parameters(), weights, strict=True))
    network.train()
    assert not network[2][0].training
    statistics = RunningStatistics(network)
    assert statistics.norms == [] and statistics.others() == {}


def test_what_cannot_be_synchronized_is_refused():
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(TrainingError, match="the network has a Own, which cannot be synchronized"):
        synchronize(nn.Sequential(Own(2)))
    with pytest.raises(TrainingError, match="1 processes have 2 pieces of 4 slices on cpu"):
        Pieces(nn.Identity(), MicroBatching(4, pieces=2), synchronized=True)(nn.Identity(), torch.rand(4, 1, 2, 2))
    whole = Pieces(nn.Identity(), MicroBatching(4), synchronized=True)
    assert whole(nn.Identity(), torch.ones(4, 1, 2, 2)).sum() == 16, "one process, one piece: nothing to synchronize"


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_statistics_of_pieces_are_put_together_in_their_order(momentum):
    """As if one process had seen them one after another; also of a layer that is called twice, or not at all."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.unused, self.frozen = (nn.BatchNorm2d(3, momentum=momentum) for _ in range(3))
            self.unused.running_mean.fill_(5.0)
            self.frozen.eval()

        def forward(self, images):
            return self.frozen(self.norm(self.norm(images) + 1))

    torch.manual_seed(0)
    pieces = [torch.rand(2, 3, 4, 4) * scale for scale in (1, 3, 9)]
    expected, model = Twice(), Twice()
    for network in (expected, model):
        network(torch.ones(2, 3, 4, 4) * torch.arange(2).view(2, 1, 1, 1))
    statistics = RunningStatistics(model)
    start, found = statistics.take(), []
    for piece in pieces:
        expected(piece)
        statistics.clear()
        model(piece)
        found.append(statistics.take())
    statistics.put(start, found)
    for (name, value), other in zip(expected.named_buffers(), model.buffers(), strict=True):
        assert torch.allclose(value.float(), other.float(), rtol=1e-6), name
    assert model.norm.num_batches_tracked == 8 and model.unused.num_batches_tracked == 0
