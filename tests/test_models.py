"""models.py: any encoder at any size, weights from the cache, and one quick message where they cannot be had."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.encoders import encoders

from gisegkit.components.models import unet, unetplusplus
from gisegkit.errors import ComponentError

SMALL = {"encoder": "tu-test_resnet", "weights": "none", "depth": 4, "decoder_channels": (32, 16, 8, 8)}
BUILDERS = [unet, unetplusplus]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no way to the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put(cache: Path, repository: str, revision: str, *, ref: str | None, state: dict[str, torch.Tensor]) -> None:
    """Lay a repository into the cache as the hub's own client does."""
    folder = cache / ("models--" + repository.replace("/", "--"))
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    safetensors.torch.save_file(state, snapshot / "model.safetensors")
    if ref:
        (folder / "refs").mkdir()
        (folder / "refs" / ref).write_text(revision)


def resnet18_in_cache(cache: Path, weights: str = "imagenet") -> dict[str, torch.Tensor]:
    state = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    given = encoders["resnet18"]["pretrained_settings"][weights]
    put(cache, given["repo_id"], given["revision"], ref=None, state=state)
    return state


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_logits_have_the_images_size(build, channels):
    model = build(in_channels=channels, classes=2, **SMALL).eval()
    assert model(torch.rand(2, channels, 32, 48)).shape == (2, 2, 32, 48)


@pytest.mark.parametrize("build", BUILDERS)
def test_equals_the_library_at_sizes_that_the_library_takes(build):
    reference = {unet: smp.Unet, unetplusplus: smp.UnetPlusPlus}[build](
        "tu-test_resnet", encoder_weights=None, encoder_depth=4, decoder_channels=(32, 16, 8, 8), classes=2
    ).eval()
    model = build(in_channels=3, classes=2, **SMALL).eval()
    model.load_state_dict(reference.state_dict())
    images = torch.rand(1, 3, 48, 32)
    torch.testing.assert_close(model(images), reference(images), rtol=0, atol=0)


@pytest.mark.parametrize("build", BUILDERS)
@settings(max_examples=15, deadline=None)
@given(height=st.integers(17, 50), width=st.integers(17, 50))
def test_any_size_is_padded_with_its_border_and_cropped_back(build, height, width):
    torch.manual_seed(0)
    model = build(in_channels=1, classes=2, **SMALL).eval()
    images = torch.rand(1, 1, height, width)
    rows = torch.arange(-(-height // 16) * 16).clamp(max=height - 1)
    columns = torch.arange(-(-width // 16) * 16).clamp(max=width - 1)
    with torch.inference_mode():
        padded = model(images[:, :, rows][..., columns])
        torch.testing.assert_close(model(images), padded[..., :height, :width], rtol=0, atol=0)


@pytest.mark.parametrize("build", BUILDERS)
def test_options_reach_the_network(build):
    options = {"decoder_norm": "identity", "decoder_attention": "scse", "decoder_interpolation": "bilinear"}
    model = build(in_channels=3, classes=1, **SMALL | {"decoder_channels": (64, 32, 16, 16)}, **options)
    kinds = {type(module).__name__ for module in model.decoder.modules()}
    assert "SCSEModule" in kinds
    assert "BatchNorm2d" not in kinds
    assert all(getattr(module, "interpolation_mode", "bilinear") == "bilinear" for module in model.decoder.modules())


@pytest.mark.parametrize("build", BUILDERS)
def test_library_encoders_train(build):
    model = build(in_channels=5, classes=3, encoder="efficientnet-b0", weights="none")
    model(torch.rand(2, 5, 64, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    assert next(model.encoder.parameters()).grad is not None


def test_weights_come_from_the_cache_without_a_network(cache):
    state = resnet18_in_cache(cache)
    model = unet(in_channels=3, classes=1, encoder="resnet18")
    loaded = model.encoder.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_another_set_of_weights_is_chosen_by_its_name(cache):
    state = resnet18_in_cache(cache, "ssl")
    model = unetplusplus(in_channels=3, classes=1, encoder="resnet18", weights="ssl")
    assert torch.equal(model.encoder.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_pretrained_filters_are_kept_for_any_number_of_channels(cache, channels):
    filters = resnet18_in_cache(cache)["conv1.weight"]
    model = unet(in_channels=channels, classes=1, encoder="resnet18")
    if channels == 1:
        expected = filters.sum(1, keepdim=True)
    else:
        expected = torch.stack([filters[:, channel % 3] for channel in range(channels)], 1) * 3 / channels
    torch.testing.assert_close(model.encoder.conv1.weight.data, expected)


@pytest.mark.parametrize("weights", ["imagenet", "r160_in1k"])
def test_timm_weights_come_from_the_cache_without_a_network(cache, weights):
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    put(cache, "timm/test_resnet.r160_in1k", "0" * 40, ref="main", state=state)
    model = unet(in_channels=3, classes=1, encoder="tu-test_resnet", weights=weights)
    loaded = model.encoder.model.state_dict()
    assert loaded
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())


def assert_explains(message: str, cache: Path, weights: str = "imagenet") -> None:
    assert all(part in message for part in ["'resnet18'", f"'{weights}'", str(cache), "model.weights=none", "HF_HOME"])


def test_weights_that_are_not_cached_are_one_error_offline(cache):
    with pytest.raises(ComponentError) as error:
        unet(in_channels=1, classes=1, encoder="resnet18", weights="imagenet")
    assert_explains(str(error.value), cache)


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "silent"])
def test_a_hub_that_does_not_answer_is_given_up_within_seconds(cache, monkeypatch, listening):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:  # takes the connection and never answers
            server.listen()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        started = time.perf_counter()
        with pytest.raises(ComponentError) as error:
            unet(in_channels=1, classes=1, encoder="resnet18", weights="swsl")
        assert time.perf_counter() - started < 5
    assert_explains(str(error.value), cache, "swsl")


@pytest.mark.parametrize(
    ("wrong", "right"), [("efficientnet_b1", "efficientnet-b1"), ("tu-convnext_tyny", "tu-convnext_tiny")]
)
def test_an_unknown_encoder_is_answered_with_the_nearest(wrong, right):
    with pytest.raises(ComponentError, match=f"no encoder '{wrong}'.*{right}.*get_encoder_names"):
        unet(in_channels=1, classes=1, encoder=wrong)


def test_unknown_weights_are_answered_with_those_offered():
    with pytest.raises(ComponentError, match=r"resnet18.*'imagenet1k'.*imagenet, ssl, swsl, none"):
        unet(in_channels=1, classes=1, encoder="resnet18", weights="imagenet1k")
    with pytest.raises(ComponentError, match=r"tu-test_resnet.*'ssl'.*imagenet, r160_in1k, none"):
        unet(in_channels=1, classes=1, encoder="tu-test_resnet", weights="ssl")


def test_a_timm_tag_belongs_into_weights():
    with pytest.raises(ComponentError, match='encoder = "tu-resnet18" and weights = "a1_in1k"'):
        unet(in_channels=1, classes=1, encoder="tu-resnet18.a1_in1k")


def test_depth_and_decoder_channels_must_fit():
    with pytest.raises(ComponentError, match=r"5 entries and depth is 4.*\[128, 64, 32, 16\]"):
        unet(in_channels=1, classes=1, encoder="resnet18", weights="none", depth=4)
    with pytest.raises(ComponentError, match=r"decoder_channels = \[8, 4, 0\]: every level needs 1 or more"):
        unet(in_channels=1, classes=1, encoder="resnet18", weights="none", depth=3, decoder_channels=(8, 4, 0))
    with pytest.raises(ComponentError, match=r"\[32, 16, 8, 8\]: every level needs 16 or more.*scse"):
        unet(in_channels=1, classes=1, **SMALL, decoder_attention="scse")


@pytest.mark.parametrize(("build", "encoder"), [(unetplusplus, "mit_b0"), (unet, "tu-test_vit")])
def test_an_encoder_that_does_not_fit_the_network_is_a_clear_error(build, encoder):
    with pytest.raises(ComponentError, match=f"'{encoder}' does not work in Unet"):
        build(in_channels=1, classes=1, encoder=encoder, weights="none")
