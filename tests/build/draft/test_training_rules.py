"""Each rule of model, losses, augmentation and epochs on both sides of its limit."""

from dataclasses import replace
from pathlib import Path

import pytest

from gisegkit.build.draft import data_rules, values
from gisegkit.build.draft import facts as facts_of
from gisegkit.build.draft.training_rules import (
    COMMON,
    CPU,
    EPOCHS,
    GPU,
    VERY_RARE,
    choose_augmentation,
    choose_losses,
    choose_metrics,
    choose_model,
    choose_training,
)


def losses(facts, **shares):
    return [dict(part.values) for part in choose_losses(replace(facts, shares=shares))]


TVERSKY = {"name": "tversky", "alpha": 0.3, "beta": 0.7}


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.3, [{"name": "bce"}, {"name": "dice"}]),
        (0.0101, [{"name": "bce"}, {"name": "dice"}]),
        (0.0099, [{"name": "bce"}, TVERSKY]),
        (0.0011, [{"name": "bce"}, TVERSKY]),
        (0.0009, [{"name": "focal"}, TVERSKY]),
    ],
)
def test_losses_follow_from_the_rarest_class(facts, share, expected):
    assert losses(facts, common=0.3, rare=share) == expected
    assert losses(facts, rare=share) == expected


def test_a_class_that_never_occurs_does_not_choose_the_losses(facts):
    assert losses(facts, common=0.3, absent=0.0) == [{"name": "bce"}, {"name": "dice"}]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.1, [{"name": "ce"}, {"name": "dice"}]),
        (0.005, [{"name": "ce"}, TVERSKY]),
        (0.0005, [{"name": "ce"}, {**TVERSKY, "weight": 2.0}]),
    ],
)
def test_exclusive_classes_share_their_pixels_by_softmax(facts, share, expected):
    exclusive = replace(facts, exclusive=True)
    assert losses(exclusive, a=0.2, b=share) == expected
    assert losses(exclusive, b=share)[0]["name"] != "ce"  # one class is exclusive by itself


def test_the_reason_names_the_rarest_class_and_its_share(facts):
    part = choose_losses(replace(facts, shares={"liver": 0.2, "lesion": 0.00004}))[0]
    assert part.why[0].startswith("The rarest class, lesion, has 0.0040% of the pixels")


@pytest.mark.parametrize(
    ("names", "flips"),
    [
        (("liver",), True),
        (("bright", "leftover"), True),
        (("kidney_left", "kidney_right"), False),
        (("Left kidney",), False),
        (("lung_l",), False),
    ],
)
def test_classes_with_a_side_are_not_flipped(facts, names, flips):
    policy, transform = choose_augmentation(replace(facts, shares=dict.fromkeys(names, 0.1)))
    assert policy.values == {"name": "initial"} | ({} if flips else {"flip_p": 0.0})
    assert transform.values["name"] == "intensity"


@pytest.mark.parametrize(
    ("changes", "rician"),
    [({"dtype": "uint16"}, True), ({"dtype": "uint8"}, False), ({"dtype": "int16", "low": -1024}, False)],
)
def test_only_what_may_be_mr_gets_the_noise_of_mr(facts, changes, rician):
    assert ("rician_p" in choose_augmentation(replace(facts, **changes))[1].values) is rician


@pytest.mark.parametrize(
    ("slices", "power", "expected"),
    [
        (100, CPU, {"batch_size": 8, "epochs": 84, "validate_every": 3}),  # 12 steps an epoch, 1000 / 12 = 83.3
        (31, CPU, {"batch_size": 7, "epochs": 250, "validate_every": 10}),
        (3, CPU, {"batch_size": 2, "epochs": 300, "validate_every": 12}),
        (30_000, CPU, {"batch_size": 8, "epochs": 10}),
        (30_000, GPU, {"batch_size": 16, "epochs": 10}),
        (800, GPU, {"batch_size": 16, "epochs": 200, "validate_every": 8}),
    ],
)
def test_epochs_make_about_the_steps_that_the_device_can_do(slices, power, expected):
    optimizer, schedule, train = choose_training(slices, power)
    assert train.values == {**expected, "max_grad_norm": 1.0}
    assert (optimizer.values["name"], schedule.values["name"]) == ("adamw", "cosine")
    assert ("micro-batches" in train.why[1]) is (power is GPU)


def test_the_network_needs_no_download():
    for power in (CPU, GPU):
        assert choose_model(power).values["weights"] == "none"
        assert any("imagenet" in line for line in choose_model(power).why)


def test_the_competition_has_a_score_of_its_own():
    assert [part.values["name"] for part in choose_metrics("folder")] == ["dice", "iou"]
    assert [part.values["name"] for part in choose_metrics("uwmgi")] == ["dice", "iou", "uwmgi_score"]


def test_the_numbers_on_the_page_are_those_of_the_rules():
    page = (Path(__file__).parents[3] / "docs" / "init.md").read_text()
    for text in (
        f"about {CPU.side} x {CPU.side} pixels on a CPU, {GPU.side} x {GPU.side} on a GPU",
        f"Crops have {CPU.crop} x {CPU.crop} pixels on a CPU, where",
        f"make more steps, and {GPU.crop} x {GPU.crop} on a GPU",
        f"| batch | {CPU.batch}, or a quarter",
        f"| {GPU.batch}, likewise",
        f"| optimizer steps | {CPU.steps:,} | {GPU.steps:,} |",
        f"with {EPOCHS[0]} at least and {EPOCHS[1]} at most",
        f"at most {data_rules.ROOM} times those pixels",
        f"multiples of {data_rules.STEP}",
        f"stays at least {data_rules.FINE:.0f} pixels wide",
        f"until it is {data_rules.KEPT:.0f} pixels wide, but not below {data_rules.LEAST} x {data_rules.LEAST} pixels",
        f"up to {data_rules.CROPS} crops of a slice",
        f"between {data_rules.AIR[0]} and {data_rules.AIR[1]}, none above {data_rules.TOP}",
        f"below {data_rules.DARK}, or bright slices at least {data_rules.UNEVEN} times",
        f"| {COMMON:.0%} or more |".replace("%", " %"),
        f"| {VERY_RARE * 100:g} to {COMMON * 100:g} % |",
        f"more than {values.MOST_VALUES} values or {values.MOST_COLORS} colors",
        f"at most {facts_of.MOST} slices are read",
    ):
        assert text in page, text
