"""Slices kept on the device: the batches, losses and weights of training from the store, to the last bit.

On the CPU "the device" is main memory, so that all of it runs without a GPU.
"""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from gisegkit.build.experiment import Experiment
from gisegkit.build.memory_plan import choose_micro_batches
from gisegkit.build.session import Session
from gisegkit.cli import main
from gisegkit.components.augmentation.none import none
from gisegkit.components.normalizations import FileType, Maximum, Percentile, Unchanged, Window, ZScore
from gisegkit.data.inputs import Input
from gisegkit.data.intensities import UNITS, keeps_zero
from gisegkit.data.loaders import EpochSampler, TrainingSet, training_loader
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.data.store.layout import Layout
from gisegkit.data.store.store import Store
from gisegkit.engine import device as devices
from gisegkit.engine import device_cache as module
from gisegkit.engine.device import pick_device
from gisegkit.engine.device_cache import Resident
from gisegkit.engine.memory import Simulation
from gisegkit.engine.plan import choose
from gisegkit.engine.step import to_device
from gisegkit.errors import DataError, RecipeError, TrainingError
from gisegkit.machine import show_size
from gisegkit.types import IGNORE
from gisegkit.workflows.check import smoke_test
from gisegkit.workflows.memory import DeviceSpec, memory_lines
from gisegkit.workflows.train import train

SIZE = (21, 15)  # 315 pixels, no whole number of bytes
MIB = 2**20

POSITIONS = {"a": [0], "b": [0, 1, 2, 4, 5], "c": list(range(7))}  # scan b has a gap
ROWS = np.array([12, 0, 2, 3, 5, 6, 9, 10, 11])  # not in order; row 8 is a neighbor that does not train

NORMALIZATIONS = {
    **{f"{kind.__name__} over {unit}": kind(over=unit) for kind in (Maximum, Percentile, ZScore) for unit in UNITS},
    "Window": Window(level=30000, width=40000),
    "FileType": FileType(),
    "Unchanged": Unchanged(),
}


class Scans:
    """Three scans of random pixels: one slice is black, some have ignored pixels, and one has a class all ignored."""

    classes = ("x", "y", "z")
    exclusive = False
    dropped = ()

    def __init__(self, root, dtype=np.uint16, channels=1):
        self.root = root
        self.dtype = np.dtype(dtype)
        self.channels = channels
        places = [(name, position) for name, positions in POSITIONS.items() for position in positions]
        self.table = pd.DataFrame(
            {
                "id": [f"{name}{position}" for name, position in places],
                "scan": [name for name, _ in places],
                "position": [position for _, position in places],
                "case": [name for name, _ in places],
                "height": [{"a": 17, "b": 30, "c": 21}[name] for name, _ in places],
                "width": [{"a": 23, "b": 26, "c": 15}[name] for name, _ in places],
                "labelled": [row != 8 for row in range(len(places))],
                "empty": [False] * len(places),
            }
        )

    def sources(self, row):
        return [], f"{self.dtype} {self.channels}"

    def image(self, row):
        shape = (*self.table[["height", "width"]].iloc[row], self.channels)
        values = np.random.default_rng(row).random(shape) * (0 if row == 3 else 1)
        if self.dtype.kind == "f":
            return values.astype(self.dtype) * 900 + 7 * (row != 3)
        image = (values * np.iinfo(self.dtype).max * (row + 1) / 20).astype(self.dtype)
        return image[:, :, 0] if self.channels == 1 else image

    def mask(self, row):
        if row == 8:
            raise DataError("row 8 has no mask")
        shape = (*self.table[["height", "width"]].iloc[row], 3)
        mask = (np.random.default_rng([row, 1]).random(shape) < 0.4).astype(np.uint8)
        if row % 3 == 0:
            mask[2:9, 3:7] = IGNORE
        if row == 5:
            mask[:, :, 1] = IGNORE
        return mask


def make_source(dataset, *, home=None, interpolation="linear", resize="fit", normalization=None, **stack):
    normalization = normalization or Maximum()
    layout = Layout(SIZE, resize, interpolation) if keeps_zero(normalization) else Layout()
    store = None
    if home is not None:
        store = Store(dataset, name="scans", layout=layout, home=home)
        store.prepare(range(len(dataset.table)))
    given = {"slices": 1, "stride": 1, "edge": "clamp"} | stack
    preprocess = Preprocess(normalization, SIZE, resize, interpolation)
    return Input(SliceReader(dataset, preprocess=preprocess, store=store, **given))


def assert_equal_batches(source, rows=ROWS):
    """Of two epochs, as the loader gives them and as the step gets them."""
    cpu = pick_device("cpu")
    sampler = EpochSampler(rows, batch_size=4, seed=5)
    expected = training_loader(TrainingSet(source, none(size=SIZE), seed=5), sampler, workers=0, pin=False)
    kept = Resident(source, rows).load(cpu, sampler)
    assert len(kept) == len(expected)
    for sampler.epoch in (1, 2):
        for ours, theirs in zip(kept, expected, strict=True):
            assert torch.equal(ours.rows, theirs.rows)
            for channels_last in (False, True):
                a, b = (to_device(loaded, cpu, channels_last=channels_last) for loaded in (ours, theirs))
                assert a.images.dtype == b.images.dtype and a.images.stride() == b.images.stride()
                assert torch.equal(a.images, b.images)
                assert torch.equal(a.targets[0][1].nan_to_num(2), b.targets[0][1].nan_to_num(2))
            assert ours.masks.dtype == theirs.masks.dtype and torch.equal(ours.masks, theirs.masks)
            assert (ours.masks == IGNORE).any()


STACKS = ({}, {"slices": 3, "edge": "zero"}, {"slices": 5, "stride": 2, "edge": "clamp"})


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder in which a store is prepared once for all normalizations."""
    return tmp_path_factory.mktemp("scans")


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.slow
def test_batches_are_those_of_the_loader(shared, name, stack):
    ways = [*itertools.product(("nearest", "linear", "area"), (True, False))]
    place = list(NORMALIZATIONS).index(name) + STACKS.index(stack)
    stack = {"normalization": NORMALIZATIONS[name], **stack}
    for interpolation, prepared in ways[place % 2 :: 2]:  # half of the ways, the other half with the next stack
        home = shared / "cache" if prepared else None
        assert_equal_batches(make_source(Scans(shared), home=home, interpolation=interpolation, **stack))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.slow
def test_every_type_of_pixel_is_kept_exactly(tmp_path, dtype, channels):
    dataset = Scans(tmp_path, dtype, channels)
    whole = Unchanged() if dataset.dtype.kind == "f" else FileType()
    for normalization in (Maximum(over="stack"), whole, Percentile(), Window(level=90, width=70)):
        stack = {"slices": 3, "edge": "zero", "normalization": normalization}
        assert_equal_batches(make_source(dataset, home=tmp_path / "cache", interpolation="nearest", **stack))


def test_the_largest_and_the_smallest_uint16_survive(tmp_path, monkeypatch):
    monkeypatch.setattr(Scans, "image", lambda self, row: np.arange(65536, dtype=np.uint16).reshape(256, 256))
    dataset = Scans(tmp_path)
    dataset.table["height"] = dataset.table["width"] = 256
    preprocess = Preprocess(FileType(), (256, 256), "fit", "nearest")
    source = Input(SliceReader(dataset, slices=1, stride=1, edge="clamp", preprocess=preprocess))
    loaded = Resident(source, [0]).load(pick_device("cpu"), EpochSampler([0], batch_size=1, seed=0)).gather([0])
    expected = torch.arange(65536, dtype=torch.float32) / torch.tensor(65535.0)
    assert torch.equal(loaded.images.flatten(), expected)


@pytest.mark.parametrize(
    ("name", "interpolation", "images", "pixel"),
    [
        ("Maximum over slice", "nearest", 13, 2),  # every slice: row 8 and others are neighbors of those that train
        ("Maximum over stack", "linear", 13, 4),
        ("Percentile over scan", "nearest", 13, 4),
        ("Window", "nearest", 13, 4),
        (
            "ZScore over stack",
            "nearest",
            1 + 3 + 2 + 2 + 2 + 3 + 3 + 3 + 2,
            4,
        ),  # by stack: 0, 2, 3, 5, 6, 9, 10, 11, 12
    ],
)
def test_an_image_is_kept_once_however_many_stacks_it_is_part_of(tmp_path, name, interpolation, images, pixel):
    options = {"normalization": NORMALIZATIONS[name], "interpolation": interpolation, "slices": 3}
    resident = Resident(make_source(Scans(tmp_path), home=tmp_path / "cache", **options), ROWS)
    sampler = EpochSampler(ROWS, batch_size=4, seed=0)
    kept = resident.load(pick_device("cpu"), sampler)
    masks = 9 * 3 * 2 * 40  # rows, classes, bits for each of 315 pixels, which are 40 bytes
    on_device = [kept.images, kept.masks, kept.stacks, kept.divisors]
    assert resident.size == sum(tensor.numel() * tensor.element_size() for tensor in on_device)
    assert resident.size == (images + 1) * 315 * pixel + masks + 9 * 3 * (8 + 4)  # with a black one
    assert str(resident) == f"on the device: 13 slices, {show_size(resident.size)}"


def test_slices_of_several_types_are_refused(tmp_path, monkeypatch):
    class Mixed(Scans):
        def image(self, row):
            return super().image(row).astype(np.uint8 if row == 5 else np.uint16)

    resident = Resident(make_source(Mixed(tmp_path), interpolation="nearest"), ROWS)
    with pytest.raises(DataError, match=r"image b5 is uint8, and c6 is uint16: .*store=resized"):
        resident.load(pick_device("cpu"), EpochSampler(ROWS, batch_size=4, seed=0))


def test_memory_that_runs_out_all_the_same_is_said(tmp_path, monkeypatch):
    def full(*shape, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    resident = Resident(make_source(Scans(tmp_path)), ROWS)
    monkeypatch.setattr(module.torch, "zeros", full)
    with pytest.raises(
        TrainingError, match=r"memory ran out on cpu, fp32 .* 9 slices there.*--set input.store=resized"
    ):
        resident.load(pick_device("cpu"), EpochSampler(ROWS, batch_size=4, seed=0))


# --- runs -----------------------------------------------------------------------------------------------------------

BASE = ("augmentation.name=none", "train.epochs=2", "postprocess=[]", "tracker=[]")
"""The tiny recipe, stacks of 3 and mixup, without a policy on the CPU."""


def command(verb, path, *sets):
    """The exit code of ``giseg verb path --set ...``."""
    with pytest.raises(SystemExit) as ended:
        main([verb, path, *(text for one in sets for text in ("--set", one))])
    return ended.value.code


def weights(run):
    return torch.load(run.path / "last.pt", weights_only=True)["model"]


def plain(run):
    measured = ("seconds", "images_per_second", "peak_memory")
    return [{key: value for key, value in entry.items() if key not in measured} for entry in run.metrics()]


def assert_same(a, b):
    assert plain(a) == plain(b)
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.slow
def test_a_run_equals_one_from_the_store(home, tmp_path, session, recipe):
    sets = [*BASE, "split.subset=annotated", "input.edge=zero"]
    lines = []
    stored = train(session.experiment(recipe(*sets)), tmp_path / "stored")
    listening = Session(session.plugins, "cpu", say=lines.append)
    kept = train(listening.experiment(recipe(*sets, "input.store=device")), tmp_path / "kept")
    assert_same(stored, kept)
    (line,) = [line for line in lines if line.startswith("on the device: ")]
    data = session.experiment(recipe(*sets))
    assert line == str(Resident(data.source, data.split.train))


@pytest.mark.slow
def test_a_run_goes_on_from_either(tmp_path, session, recipe, train_until):
    kept = recipe(*BASE, "input.store=device")
    whole = train(session.experiment(kept), tmp_path / "whole")
    train_until("epoch 1/", kept, tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "stored")
    for name, second in (("kept", kept), ("stored", recipe(*BASE))):
        assert_same(whole, train(session.experiment(second), tmp_path / name, resume=True))


@pytest.mark.slow
def test_an_epoch_reads_no_slice(tmp_path, session, recipe, monkeypatch):
    reads = []
    planes = Input.planes
    monkeypatch.setattr(Input, "planes", lambda self, row: reads.append(row) or planes(self, row))
    train(session.experiment(recipe(*BASE, "input.store=device")), tmp_path / "run")
    split = session.experiment(recipe(*BASE)).split
    read = sorted(row for row in reads if row not in split.validation)  # those are read for the validation loss
    assert read == sorted(split.train.tolist()), "two epochs, and each mask was read once"


@pytest.mark.slow
def test_a_rehearsal_keeps_only_its_two_slices(session, recipe, monkeypatch):
    loaded = []
    load = Resident.load
    monkeypatch.setattr(Resident, "load", lambda self, *a, **b: loaded.append(self.rows) or load(self, *a, **b))
    lines = smoke_test(session.experiment(recipe(*BASE, "input.store=device")))
    assert [len(rows) for rows in loaded] == [2]
    assert any(line.startswith("one batch of 2: loss ") for line in lines)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_policy_on_the_cpu_is_refused_before_anything_is_read(tmp_path, session, recipe, home, capsys, monkeypatch):
    refused = recipe("input.store=device")
    for verb in (
        lambda: train(session.experiment(refused), tmp_path / "run"),
        lambda: smoke_test(session.experiment(refused)),
    ):
        with pytest.raises(RecipeError) as caught:
            verb()
        (mistake,) = caught.value.mistakes
        line = (home / "tiny.toml").read_text().splitlines()[int(mistake.place.rpartition(":")[2]) - 1]
        assert line == "[augmentation]"
        assert 'augmentation.name = "baseline"' in mistake.found and 'input.store = "device"' in mistake.found
        assert "recipes/unet_effb1_device.toml" in mistake.remedy and 'input.store = "resized"' in mistake.remedy
    assert not (tmp_path / "run").exists()
    assert command("check", str(home / "tiny.toml"), "input.store=device") == 2
    assert 'augmentation.name = "baseline" works on the CPU' in capsys.readouterr().err
    assert command("check", str(home / "tiny.toml"), "input.store=device", "augmentation.name=none") == 0


def test_a_dataset_that_cannot_be_prepared_is_refused(session, recipe, monkeypatch):
    from gisegkit.components.datasets.uwmgi import UWMGI

    chosen = recipe("augmentation.name=none", "input.store=device")
    monkeypatch.delattr(UWMGI, "sources")
    with pytest.raises(RecipeError, match=r"tiny.toml:\d+: input.store = \"device\", and the dataset 'phantom' has no"):
        _ = session.experiment(chosen).store
    assert session.experiment(recipe()).store is None


# --- room -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def free(monkeypatch):
    """Lets the machine have so many bytes for a step."""

    def let(size):
        monkeypatch.setattr(devices, "free_memory", lambda: int(size / devices.CPU_SHARE) + 1)

    return let


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, images):
        return self.conv(images)


class Looking(Net):
    def forward(self, images):
        return self.conv(images) if images.sum() > 0 else self.conv(-images)


def simulation(resident, model=None):
    return Simulation(
        model=model or Net(),
        criterion=torch.nn.BCEWithLogitsLoss(),
        channels=1,
        classes=1,
        size=(256, 256),
        targets=1,
        batch_size=16,
        device=pick_device("cpu"),
        state_per_weight=2,
        resident=resident,
    )


def test_the_plan_leaves_room_for_what_is_kept(recipe, free):
    whole = simulation(0).estimate(16)
    assert simulation(50 * MIB).estimate(16).total == whole.total + 50 * MIB
    budget = whole.total + MIB
    assert choose(simulation(0), budget).micro_batch == 16
    kept = simulation(20 * MIB)
    plan = choose(kept, budget)
    assert plan.fits and plan.micro_batch < 16 and plan.estimate.parts["resident"] == 20 * MIB
    free(2**40)
    micro_batching, same, _ = choose_micro_batches(recipe(f"train.memory={budget}B").train, kept, pick_device("cpu"))
    assert micro_batching.size == same.micro_batch == plan.micro_batch


def test_a_set_that_does_not_fit_is_refused_and_the_remedy_is_predicted(recipe, free):
    with pytest.raises(TrainingError) as caught:
        choose_micro_batches(recipe("train.memory=100MiB").train, simulation(200 * MIB), pick_device("cpu"))
    text = str(caught.value)
    assert '(200 MiB of it for the slices that input.store = "device" keeps there), and there are 100 MiB' in text
    assert "\n  --set input.store=resized: micro-batch 16, " in text


@pytest.mark.parametrize(("model", "settled"), [(Net, "train.micro_batch=8"), (Looking, "train.micro_batch=auto")])
def test_without_a_plan_the_room_is_checked_all_the_same(recipe, free, model, settled):
    """The recipe settles the micro-batch, or the step cannot be predicted."""
    free(300 * MIB)
    micro_batching, plan, _ = choose_micro_batches(
        recipe(settled).train, simulation(200 * MIB, model()), pick_device("cpu")
    )
    assert (micro_batching.size, plan) == (8, None)
    free(150 * MIB)
    with pytest.raises(TrainingError, match=r"take 200 MiB.*there are 150 MiB free on cpu.*--set input\.store=resized"):
        choose_micro_batches(recipe(settled).train, simulation(200 * MIB, model()), pick_device("cpu"))


def test_more_memory_than_there_is_cannot_be_promised_away(recipe, free):
    free(150 * MIB)
    for memory in ("auto", "1GiB"):
        with pytest.raises(TrainingError, match="there are 150 MiB free"):
            choose_micro_batches(recipe(f"train.memory={memory}").train, simulation(200 * MIB), pick_device("cpu"))
    free(1)
    with pytest.raises(TrainingError, match="there are 0 KiB free"):
        choose_micro_batches(recipe("train.memory=1GiB").train, simulation(200 * MIB), pick_device("cpu"))


def test_a_run_without_room_is_refused(tmp_path, session, recipe, free):
    chosen = recipe(*BASE, "input.store=device")
    free(1000)
    with pytest.raises(TrainingError, match=r'input\.store = "device" keeps there'):
        train(session.experiment(chosen), tmp_path / "run")


@pytest.mark.slow
def test_check_memory_and_data_say_what_is_kept(home, session, recipe, capsys, tmp_path):
    registries = session.plugins.registries
    kept = recipe(*BASE, "input.store=device")
    assert not any(
        line.startswith("  resident") for line in memory_lines(Experiment(recipe(), registries), DeviceSpec(2**30))
    )
    (line,) = [
        line for line in memory_lines(Experiment(kept, registries), DeviceSpec(2**30)) if line.startswith("  resident")
    ]
    resident = Experiment(kept, registries).resident
    assert f" {show_size(resident.size)}  the slices that input.store" in line
    assert command("data", str(home / "tiny.toml"), *BASE, "input.store=device") == 0
    assert f"\n{resident}\n" in capsys.readouterr().out
    away = recipe(*BASE, "input.store=device", "dataset.name=uwmgi", f"dataset.root={(tmp_path / 'no').as_posix()}")
    assert (
        "and none of the slices that input.store"
        in list(memory_lines(Experiment(away, registries), DeviceSpec(2**30)))[1]
    )
