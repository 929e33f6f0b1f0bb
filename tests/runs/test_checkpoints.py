"""The checkpoint's format: any bit that changes what is loaded is seen, and what is no checkpoint is refused."""

from __future__ import annotations

import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch

from gisegkit.errors import RunError
from gisegkit.runs.checkpoints import FACTS, FORMAT, STATE, WEIGHTS, digest, loads_again, pack, unpack

GIVEN = {"classes": ["a", "b"], "channels": 1, "split": "0" * 64}


def state():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    model(torch.rand(2, 1, 8, 8)).square().sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "scaler": {},
        "best": 0.5,
        "since": 0,
        "validations": 3,
        "facts": GIVEN,
    }


def test_what_was_written_is_read(tmp_path):
    torch.save(pack(state()), tmp_path / "last.pt")
    found = unpack(tmp_path / "last.pt", STATE)
    assert digest({key: found[key] for key in state()}) == digest(state())
    assert torch.load(tmp_path / "last.pt", weights_only=True)["format"] == FORMAT, "torch reads it without gisegkit"


@pytest.mark.slow
def test_every_flipped_bit_is_seen_or_changes_nothing(tmp_path):
    file = tmp_path / "last.pt"
    torch.save(pack(state()), file)
    whole, expected = file.read_bytes(), digest(unpack(file, STATE))
    rng, seen = np.random.default_rng(0), 0
    for place in rng.integers(0, len(whole), 250):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        try:
            found = unpack(file, STATE)
        except RunError:
            seen += 1
        else:
            assert digest(found) == expected, f"byte {place}"
    assert seen > 60


def test_every_bit_of_a_weight_counts(tmp_path):
    base = digest(state())
    for name, value in state()["model"].items():
        raw = value.reshape(-1).view(torch.uint8)
        for index in range(len(raw)):
            changed = state()
            changed["model"][name].reshape(-1).view(torch.uint8)[index] ^= 1 << index % 8
            assert digest(changed) != base


def forged(**changes):
    """A checkpoint with other content and the digest that belongs to it."""
    content = {**state(), **changes}
    return pack({key: value for key, value in content.items() if value is not Ellipsis})


@pytest.mark.parametrize(
    "content",
    [
        [1, 2], torch.zeros(3), "text", None, 5, {}, {"model": {}}, {"format": 1}, {"format": "2"}, {"format": FORMAT},
        {"format": torch.zeros(3)}, {**pack(state()), "digest": None}, {**pack(state()), "epoch": 4},
        {**pack(state()), "more": 1}, {**pack(state()), "model": OrderedDict()},
        forged(epoch="x"), forged(epoch=0), forged(epoch=True), forged(model=...), forged(model=[1]), forged(facts=...),
        forged(facts={}), forged(facts={**GIVEN, "channels": "1"}), forged(optimizer=...), forged(optimizer=None),
        forged(best="good"), forged(schedule=...),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content):
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"last\.pt") as error:
        unpack(tmp_path / "last.pt", STATE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", bytes(range(256)) * 9, b"PK\x03\x04" + bytes(99)])
def test_what_is_no_file_of_torch_is_refused_without_a_warning(tmp_path, content):
    (tmp_path / "best.pt").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RunError, match="damaged or no checkpoint"):
            unpack(tmp_path / "best.pt", WEIGHTS)


def test_an_older_layout_says_what_to_do(tmp_path):
    torch.save({"format": 1, "epoch": 2, "model": {}, "facts": {}}, tmp_path / "best.pt")
    with pytest.raises(RunError, match=r"layout 1, this gisegkit reads 2; an older gisegkit wrote it"):
        unpack(tmp_path / "best.pt", WEIGHTS)
    assert set(FACTS) == set(GIVEN)


def test_a_state_that_only_code_could_read_is_told():
    assert loads_again({"state": state()["optimizer"]}) == ""
    assert loads_again({"state": {"f": np.float64(1.0)}})
    assert "Unsupported global" in loads_again({"state": {"f": print}})
    assert loads_again({"state": {"f": lambda: 0}})
