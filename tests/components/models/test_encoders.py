"""encoders.py: names are looked up, weights come from the cache, and one quick message where they cannot be had."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.encoders import encoders

from gisegkit.components.models.context_family import pspnet
from gisegkit.components.models.encoders import CONNECT_SECONDS, DEADLINE_SECONDS, find_encoder
from gisegkit.components.models.r2unet import r2unet
from gisegkit.components.models.unet_family import unet, unetplusplus
from gisegkit.errors import ComponentError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


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


@pytest.mark.slow
def test_weights_come_from_the_cache_without_a_network(cache):
    state = resnet18_in_cache(cache)
    model = unet(in_channels=3, classes=1, encoder="resnet18")
    loaded = model.encoder.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    revision = encoders["resnet18"]["pretrained_settings"]["imagenet"]["revision"]
    assert model.loading_report == (
        f"encoder resnet18: weights imagenet, smp-hub/resnet18.imagenet "
        f"at the library's pinned revision {revision[:12]}"
    )


@pytest.mark.slow
def test_another_set_of_weights_is_chosen_by_its_name(cache):
    state = resnet18_in_cache(cache, "ssl")
    model = unetplusplus(in_channels=3, classes=1, encoder="resnet18", weights="ssl")
    assert torch.equal(model.encoder.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("build", [pspnet, r2unet])
@pytest.mark.slow
def test_every_kind_of_network_takes_them(cache, build):
    state = resnet18_in_cache(cache)
    options = {"width": 2} if build is r2unet else {}
    model = build(in_channels=3, classes=1, encoder="resnet18", weights="imagenet", **options)
    assert torch.equal(model.encoder.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.slow
def test_pretrained_filters_are_kept_for_any_number_of_channels(cache, channels):
    filters = resnet18_in_cache(cache)["conv1.weight"]
    model = unet(in_channels=channels, classes=1, encoder="resnet18")
    if channels == 1:
        expected = filters.sum(1, keepdim=True)
    else:
        expected = torch.stack([filters[:, channel % 3] for channel in range(channels)], 1) * 3 / channels
    torch.testing.assert_close(model.encoder.conv1.weight.data, expected)


def timm_in_cache(cache: Path, ref: str | None = "main") -> dict[str, torch.Tensor]:
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    put(cache, "timm/test_resnet.r160_in1k", COMMIT, ref=ref, state=state)
    return state


@pytest.mark.parametrize("weights", ["imagenet", "r160_in1k"])
def test_timm_weights_come_from_the_cache_without_a_network(cache, weights):
    state = timm_in_cache(cache)
    model = unet(in_channels=3, classes=1, encoder="tu-test_resnet", weights=weights)
    loaded = model.encoder.model.state_dict()
    assert loaded
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    assert model.loading_report == (
        "encoder tu-test_resnet: weights r160_in1k, timm/test_resnet.r160_in1k at revision 0123456789ab; "
        f'pin it with weights = "{weights}@{COMMIT}"'
    )


def test_timm_weights_can_be_pinned(cache):
    state = timm_in_cache(cache, ref=None)  # only the commit leads to them, no branch does
    model = unet(in_channels=3, classes=1, encoder="tu-test_resnet", weights=f"imagenet@{COMMIT}")
    assert torch.equal(model.encoder.model.conv1[0].weight, state["conv1.0.weight"])
    assert model.loading_report.endswith("at revision 0123456789ab")
    with pytest.raises(ComponentError, match="not in the cache folder"):
        unet(in_channels=3, classes=1, encoder="tu-test_resnet", weights="imagenet@" + "f" * 40)


def test_the_librarys_own_weights_are_pinned_already():
    with pytest.raises(ComponentError, match="'imagenet@abc'; its revision is pinned already"):
        unet(in_channels=3, classes=1, encoder="resnet18", weights="imagenet@abc")
    for settings in encoders.values():
        for weights in settings["pretrained_settings"].values():
            assert re.fullmatch("[0-9a-f]{40}", weights["revision"]), weights


def assert_explains(message: str, cache: Path, weights: str = "imagenet") -> None:
    assert all(part in message for part in ["'resnet18'", f"'{weights}'", str(cache), "model.weights=none", "HF_HOME"])
    assert "--set model.weights=FILE.safetensors" in message


def test_weights_that_are_not_cached_are_one_error_offline(cache):
    with pytest.raises(ComponentError) as error:
        unet(in_channels=1, classes=1, encoder="resnet18", weights="imagenet")
    assert_explains(str(error.value), cache)


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "silent"])
@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_given_up_at_the_first_attempt(cache, monkeypatch, listening):
    """Its own library would retry for 23 s."""
    asked, metadata = [], huggingface_hub.get_hf_file_metadata

    def ask(url, *, timeout):
        asked.append(timeout)
        return metadata(url, timeout=timeout)

    assert CONNECT_SECONDS < DEADLINE_SECONDS < 4, "including what building takes before, the promise is 5 s"
    monkeypatch.setattr("gisegkit.components.models.encoders.CONNECT_SECONDS", 0.3)
    monkeypatch.setattr("gisegkit.components.models.encoders.DEADLINE_SECONDS", 60)  # it is the first that ends this
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", ask)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *args, **kw: asked.append("downloads"))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:  # takes the connection and never answers
            server.listen()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        with pytest.raises(ComponentError) as error:
            unet(in_channels=1, classes=1, encoder="resnet18", weights="swsl")
    assert asked == [0.3]
    assert_explains(str(error.value), cache, "swsl")


@pytest.mark.slow
def test_a_name_server_that_swallows_packets_is_not_waited_for(cache, monkeypatch):
    released, asked, answered = threading.Event(), threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        asked.set()
        released.wait(30)
        answered.set()
        raise socket.gaierror("name look-up timed out")

    monkeypatch.setattr("gisegkit.components.models.encoders.DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with pytest.raises(ComponentError) as error:
            unet(in_channels=1, classes=1, encoder="resnet18", weights="imagenet")
        assert not answered.is_set(), "the look-up was waited for"
        assert asked.is_set(), "the attempt never came to the name look-up"
    finally:
        released.set()
    assert_explains(str(error.value), cache)
    assert "no answer within 0.5 s" in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "right"), [("efficientnet_b1", "efficientnet-b1"), ("tu-convnext_tyny", "tu-convnext_tiny")]
)
def test_an_unknown_encoder_is_answered_with_the_nearest(wrong, right):
    with pytest.raises(ComponentError, match=f"no encoder '{wrong}'.*{right}.*get_encoder_names"):
        unet(in_channels=1, classes=1, encoder=wrong)


def test_unknown_weights_are_answered_with_those_offered():
    with pytest.raises(ComponentError, match=r"resnet18.*'imagenet1k'.*imagenet, ssl, swsl, none.*\.safetensors"):
        unet(in_channels=1, classes=1, encoder="resnet18", weights="imagenet1k")
    with pytest.raises(ComponentError, match=r"tu-test_resnet.*'ssl'.*imagenet, r160_in1k, none"):
        unet(in_channels=1, classes=1, encoder="tu-test_resnet", weights="ssl")


def test_a_timm_tag_belongs_into_weights():
    with pytest.raises(ComponentError, match='encoder = "tu-resnet18" and weights = "a1_in1k"'):
        unet(in_channels=1, classes=1, encoder="tu-resnet18.a1_in1k")


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("tu-swin_tiny_patch4_window7_224", {"dynamic_img_size": True}),
        ("tu-vit_tiny_patch16_224", {"dynamic_img_size": True}),
        ("tu-resnet18", {}),
        ("resnet18", {}),
    ],
)
def test_transformers_are_asked_to_take_any_size(encoder, options):
    found = find_encoder(encoder, "none")
    assert found.keywords == {"encoder_name": encoder, "encoder_weights": None, **options}
    assert not found.pretrained
