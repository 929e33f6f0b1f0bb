"""weights.py: files of many shapes find their places, what does not fit is named, and nothing is unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch

from gisegkit.components.models.unet_family import unet
from gisegkit.components.models.weights import continue_from, is_file, read_weights
from gisegkit.errors import ComponentError

SMALL = {"encoder": "tu-test_resnet", "depth": 4, "decoder_channels": (32, 16, 8, 8)}


def trained(seed: int = 7, channels: int = 1, classes: int = 2, **changes: object) -> dict[str, torch.Tensor]:
    """The state of a network whose every value differs from any new one's."""
    model = unet(in_channels=channels, classes=classes, weights="none", **SMALL | changes)
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


def load(path: Path, channels: int = 1, classes: int = 2, **changes: object) -> torch.nn.Module:
    return unet(in_channels=channels, classes=classes, weights=str(path), **SMALL | changes)


def assert_equal(model: torch.nn.Module, state: dict[str, torch.Tensor], prefix: str = "") -> None:
    loaded = {name: value for name, value in model.state_dict().items() if name.startswith(prefix)}
    assert loaded
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "module.model.", "model._orig_mod."])
@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
@pytest.mark.slow
def test_a_full_model_under_any_prefix(tmp_path, prefix, suffix):
    state, path = trained(), tmp_path / f"weights.{suffix}"
    renamed = {prefix + name: value for name, value in state.items()}
    safetensors.torch.save_file(renamed, path) if suffix == "safetensors" else torch.save(renamed, path)
    model = load(path)
    assert_equal(model, state)
    count = sum(not name.endswith("num_batches_tracked") for name in state)
    encoder = sum(name.startswith("encoder.") and not name.endswith("num_batches_tracked") for name in state)
    assert model.loading_report == (
        f"weights {path}: tensors loaded: encoder {encoder} of {encoder}, "
        f"decoder and head {count - encoder} of {count - encoder}"
    )


@pytest.mark.parametrize("wrap", ["model", "state_dict", "model_state_dict"])
def test_a_checkpoint_around_the_tensors(tmp_path, wrap):
    state = trained()
    torch.save({"format": 1, "epoch": 3, wrap: state, "facts": {"classes": ["a", "b"]}}, tmp_path / "best.pt")
    assert_equal(load(tmp_path / "best.pt"), state)


@pytest.mark.parametrize("prefix", ["encoder.", "encoder.model.", "", "module.", "model."])
@pytest.mark.slow
def test_an_encoder_alone(tmp_path, prefix):
    state = trained()
    own = {name.removeprefix("encoder.model."): value for name, value in state.items() if name.startswith("encoder.")}
    inner = "" if prefix == "encoder.model." else "model." if prefix == "encoder." else ""
    torch.save({prefix + inner + name: value for name, value in own.items()}, tmp_path / "encoder.pth")
    torch.manual_seed(0)
    model = load(tmp_path / "encoder.pth")
    assert_equal(model, state, "encoder.")
    torch.manual_seed(0)
    fresh = unet(in_channels=1, classes=2, weights="none", **SMALL).state_dict()
    assert_equal(model, fresh, "decoder.")
    assert "decoder and head 0 of" in model.loading_report
    assert "random weights" in model.loading_report


@pytest.mark.slow
def test_an_encoder_of_the_library_alone(tmp_path):
    state = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    safetensors.torch.save_file(state, tmp_path / "resnet18.safetensors")
    model = unet(in_channels=3, classes=1, encoder="resnet18", weights=str(tmp_path / "resnet18.safetensors"))
    assert all(torch.equal(value, state[name]) for name, value in model.encoder.state_dict().items())


@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_a_classifier_of_timm(tmp_path, encoder):
    """Its stages are named stages.0 in a classifier and stages_0 in an encoder; its own head has no place."""
    torch.manual_seed(1)
    classifier = timm.create_model(encoder).state_dict()
    torch.save(classifier, tmp_path / "timm.pth")
    options = {"encoder": f"tu-{encoder}", "decoder_channels": (8, 8, 8, 8), "depth": 4}
    model = unet(in_channels=3, classes=1, weights=str(tmp_path / "timm.pth"), **options)
    loaded = {name.replace("_", "."): value for name, value in model.encoder.model.state_dict().items()}
    own = {name.replace("_", "."): value for name, value in classifier.items()}
    assert all(torch.equal(value, own[name]) for name, value in loaded.items())
    assert "in the file only: " in model.loading_report


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_filters_of_three_channels_are_kept(tmp_path, wanted):
    state = trained(channels=3)
    torch.save(state, tmp_path / "rgb.pth")
    model = load(tmp_path / "rgb.pth", channels=wanted)
    name = "encoder.model.conv1.0.weight"
    filters = state[name]
    if wanted == 1:
        expected = filters.sum(1, keepdim=True)
    else:
        expected = torch.stack([filters[:, channel % 3] for channel in range(wanted)], 1) * 3 / wanted
    loaded = model.state_dict()
    torch.testing.assert_close(loaded[name], expected)
    assert all(torch.equal(value, state[other]) for other, value in loaded.items() if other != name)


def test_filters_of_five_channels_answer_grey_images_alike(tmp_path):
    """A grey image in all five channels and the one-channel network give the same first map."""
    state = trained(channels=5)
    torch.save(state, tmp_path / "five.pth")
    one, five = load(tmp_path / "five.pth", channels=1).eval(), load(tmp_path / "five.pth", channels=5).eval()
    image = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(one(image), five(image.expand(-1, 5, -1, -1)), rtol=1e-4, atol=1e-4)


def test_what_did_not_match_is_named(tmp_path):
    state = trained(classes=3)
    del state["encoder.model.bn1.weight"]
    state["teacher.weight"] = torch.zeros(2)
    torch.save(state, tmp_path / "other.pth")
    model = load(tmp_path / "other.pth")
    lines = model.loading_report.split("\n")[1:]
    assert lines == [
        "  not in the file, left random: encoder.model.bn1.weight",
        "  of another shape, left random: segmentation_head.0.weight (file [3, 8, 3, 3], network [2, 8, 3, 3]), "
        "segmentation_head.0.bias (file [3], network [2])",
        "  in the file only: teacher.weight",
    ]
    assert torch.equal(model.state_dict()["decoder.blocks.0.conv1.0.weight"], state["decoder.blocks.0.conv1.0.weight"])


def test_long_lists_are_shortened(tmp_path):
    state = {f"extra.{number}": torch.zeros(1) for number in range(9)} | trained()
    torch.save(state, tmp_path / "extra.pth")
    assert (
        "in the file only: extra.0, extra.1, extra.2, extra.3 and 5 more" in load(tmp_path / "extra.pth").loading_report
    )


def test_a_file_of_another_network_is_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(
        ComponentError, match=r"of the 1 tensors .* nothing fits this network.*\n.*layer.weight\n.*encoder"
    ):
        load(tmp_path / "other.pth")


def test_a_file_without_the_encoder_is_refused(tmp_path):
    state = {name: value for name, value in trained().items() if not name.startswith("encoder.")}
    torch.save(state, tmp_path / "decoder.pth")
    with pytest.raises(ComponentError, match=r"only decoder.* and [0-9]+ more fits this network, nothing its encoder"):
        load(tmp_path / "decoder.pth")


def test_a_missing_file_is_answered_with_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    torch.save(trained(), tmp_path / "runs" / "best.pt")
    assert_equal(load(Path("runs/best.pt")), trained())  # relative to the current folder
    with pytest.raises(ComponentError, match=r"no file 'runs/bests.pt'.*did you mean 'best.pt'\? 'runs' holds best.pt"):
        load(Path("runs/bests.pt"))
    with pytest.raises(ComponentError, match=r"'\.' holds no such files"):
        load(Path("best.pt"))
    with pytest.raises(ComponentError, match="there is no folder 'nowhere' either"):
        load(Path("nowhere/best.pt"))


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("new_format", [True, False])
def test_nothing_is_unpickled(tmp_path, new_format):
    mark = tmp_path / "mark"
    content = {"state_dict": trained(), "extra": Bomb(mark)}
    torch.save(content, tmp_path / "bomb.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(ComponentError, match="never unpickles"):
        load(tmp_path / "bomb.pth")
    assert not mark.exists()
    torch.load(tmp_path / "bomb.pth", weights_only=False)
    assert mark.exists(), "the file does run code where it is unpickled, so the test can fail"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.safetensors", b"no weights at all", "cannot be read as weights"),
        ("text.pth", b"no weights at all", "damaged|cannot be read as weights"),
        ("empty.pt", b"", "cannot be read as weights"),
        ("number.pt", None, "holds no tensors by name"),
    ],
)
def test_damaged_files(tmp_path, name, content, message):
    path = tmp_path / name
    torch.save(3, path) if content is None else path.write_bytes(content)
    with pytest.raises(ComponentError, match=message):
        read_weights(str(path))


def test_a_cut_off_file(tmp_path):
    torch.save(trained(), tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
    with pytest.raises(ComponentError, match=r"cut.pth'.*(damaged|cannot be read)"):
        read_weights(str(tmp_path / "cut.pth"))


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"weight": Bomb(tmp_path / "mark")}))
    with pytest.raises(ComponentError, match="never unpickles"):
        read_weights(str(tmp_path / "plain.pth"))
    assert not (tmp_path / "mark").exists()


def test_names_of_weights_are_no_files():
    assert [is_file(text) for text in ("best.pt", "a/b.pth", "C:\\x.SafeTensors", "imagenet", "in1k", "none")] == [
        *(True, True, True, False, False, False),
    ]


# --- another run's weights ------------------------------------------------------------------------------------------


def test_a_run_goes_on_from_anothers_weights_and_what_does_not_fit_is_named():
    tiny = {"encoder": "tu-test_resnet", "weights": "none", "decoder_channels": (16, 16, 8, 8, 8)}
    source, target = unet(in_channels=3, classes=3, **tiny), unet(in_channels=1, classes=2, **tiny)
    report = continue_from(target, source.state_dict(), "of the run a", 1)
    assert "of the run a: tensors loaded: encoder" in report
    assert "of another shape, left random: segmentation_head" in report
    mine, theirs = target.state_dict(), source.state_dict()
    first = next(name for name in mine if name.startswith("encoder.") and mine[name].ndim == 4)
    for name, value in mine.items():
        if name == first:
            torch.testing.assert_close(value, theirs[name].sum(1, keepdim=True))
        elif not name.startswith("segmentation_head."):
            assert torch.equal(value, theirs[name]), name


def test_a_network_without_an_encoder_goes_on_too():
    source, target = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)
    report = continue_from(target, source.state_dict(), "of the run a", 1)
    assert torch.equal(source.weight, target.weight)
    assert report.splitlines() == ["weights of the run a: tensors loaded: decoder and head 2 of 2"]


def test_nothing_that_fits_is_refused():
    with pytest.raises(ComponentError, match=r"(?s)init_from: nothing in the run a fits.*holds other.*needs weight"):
        continue_from(torch.nn.Conv2d(1, 2, 3), {"other": torch.zeros(3)}, "the run a", 1)
