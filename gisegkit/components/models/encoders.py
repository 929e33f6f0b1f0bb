"""Encoders by name, those of segmentation-models-pytorch and after ``tu-`` those of timm, and their weights.

Pretrained weights come from the Hugging Face cache, or are downloaded into it.
"""

from __future__ import annotations

import inspect
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
from huggingface_hub import constants
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn

from gisegkit.components.models.weights import is_file
from gisegkit.data.atomic_files import first_line
from gisegkit.errors import ComponentError, did_you_mean

TIMM_PREFIX = "tu-"
CONNECT_SECONDS = 2.0
"""How long the hub may take for one answer; its own library retries for 23 s."""
DEADLINE_SECONDS = 3.5
"""How long the whole attempt may take, name look-up and redirects included: a name server may swallow packets."""


@dataclass(frozen=True)
class Source:
    """Where an encoder comes from.

    Attributes:
        keywords: what the library's networks take for it.
        pretrained: whether its weights are pretrained ones from the hub.
        report: one line that says which, with repository and commit; empty for random weights.
    """

    keywords: dict[str, Any]
    pretrained: bool = False
    report: str = ""


def find_encoder(encoder: str, weights: str) -> Source:
    """Look an encoder and its weights up; the files of pretrained weights are in the cache afterwards.

    Args:
        encoder: ``resnet34``, or ``tu-`` and timm's name.
        weights: ``imagenet`` or another name that the encoder offers, with timm's encoders also ``imagenet@COMMIT``;
            ``none`` or the path of a file for random ones, to be filled later.

    Raises:
        ComponentError: if there is no such encoder, it has no such weights, or they cannot be had.
    """
    is_timm = encoder.startswith(TIMM_PREFIX)
    offered = _timm_weights(encoder) if is_timm else _smp_weights(encoder)
    options = _any_size_options(encoder.removeprefix(TIMM_PREFIX)) if is_timm else {}
    if weights == "none" or is_file(weights):
        return Source({"encoder_name": encoder, "encoder_weights": None, **options})
    name, _, commit = weights.partition("@")
    if name not in offered or (commit and not is_timm):
        pinned = " its revision is pinned already;" if name in offered else ""
        raise ComponentError(
            f"model: encoder {encoder!r} has no weights {weights!r};{pinned} "
            f"it offers: {', '.join([*offered, 'none'])} (none: random weights), or give a .safetensors or .pth file"
        )
    if not is_timm:
        return _smp_source(encoder, name)
    return _timm_source(encoder, weights, offered[name], commit or None, options)


def make_encoder(*, encoder_name: str, encoder_weights: Any, in_channels: int, depth: int, **options: Any) -> nn.Module:
    """The encoder alone, ``[B, C, H, W]`` to the image itself and a map for each halving of it, fine to coarse."""
    encoder: nn.Module = get_encoder(
        encoder_name, in_channels=in_channels, depth=depth, weights=encoder_weights, **options
    )
    return encoder


def _smp_source(encoder: str, weights: str) -> Source:
    settings = smp_encoders[encoder]["pretrained_settings"][weights]
    repository, revision = settings["repo_id"], settings["revision"]
    for name in ("config.json", "model.safetensors"):  # the library asks for both
        _fetch(encoder, weights, repository, name, revision)
    report = f"encoder {encoder}: weights {weights}, {repository} at the library's pinned revision {revision[:12]}"
    return Source({"encoder_name": encoder, "encoder_weights": weights}, True, report)


def _timm_source(encoder: str, weights: str, tag: str, commit: str | None, options: dict[str, Any]) -> Source:
    name = f"{encoder}.{tag}"
    repository = _timm_repository(name.removeprefix(TIMM_PREFIX))
    path = _fetch(encoder, weights, repository, "model.safetensors", commit)
    loaded = Path(path).parent.name  # the cache keeps each commit in a folder of its name
    pin = "" if commit else f'; pin it with weights = "{weights}@{loaded}"'
    file = {"file": path, "custom_load": False}
    return Source(
        {"encoder_name": name, "encoder_weights": True, "pretrained_cfg_overlay": file, **options},
        True,
        f"encoder {encoder}: weights {tag}, {repository} at revision {loaded[:12]}{pin}",
    )


def _any_size_options(architecture: str) -> dict[str, Any]:
    """timm's keyword by which a transformer takes images of any size, where the architecture has it."""
    module = sys.modules[timm.models.model_entrypoint(architecture).__module__]
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, nn.Module):
            parameters = inspect.signature(value).parameters
            if "num_classes" in parameters and "dynamic_img_size" in parameters:
                return {"dynamic_img_size": True}
    return {}


def _smp_weights(encoder: str) -> dict[str, str]:
    if encoder not in smp_encoders:
        raise _unknown_encoder(encoder, [*smp_encoders, *(TIMM_PREFIX + name for name in timm.list_models())])
    return {name: name for name in smp_encoders[encoder]["pretrained_settings"]}


def _timm_weights(encoder: str) -> dict[str, str]:
    """Names of weights that a recipe may use, and timm's tag for each: the tags, and ``imagenet`` for the default."""
    architecture, dot, tag = encoder.removeprefix(TIMM_PREFIX).partition(".")
    if not timm.is_model(architecture):
        raise _unknown_encoder(encoder, [TIMM_PREFIX + name for name in timm.list_models()])
    if dot:
        raise ComponentError(
            f"model: encoder {encoder!r} holds the name of its weights; "
            f'write encoder = "{TIMM_PREFIX}{architecture}" and weights = "{tag}"'
        )
    names = [name for name in timm.list_pretrained(f"{architecture}.*") if _timm_repository(name)]
    tags = {tag: tag for tag in (name.partition(".")[2] for name in names)}
    default = getattr(timm.get_pretrained_cfg(architecture), "tag", "")
    return {"imagenet": default, **tags} if default in tags and "in1k" in default else tags


def _timm_repository(name: str) -> str:
    """Where the hub keeps the weights of ``architecture.tag``; empty for the few that lie elsewhere."""
    return getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None) or ""


def _unknown_encoder(encoder: str, known: list[str]) -> ComponentError:
    nearest = did_you_mean(encoder, known)
    return ComponentError(
        f"model: there is no encoder {encoder!r}; {nearest + ' ' if nearest else ''}"
        "List them with: python -c 'import segmentation_models_pytorch as smp, timm; "
        'print(*smp.encoders.get_encoder_names(), *("tu-" + name for name in timm.list_models()))\''
    )


def _fetch(encoder: str, weights: str, repository: str, name: str, revision: str | None = None) -> str:
    """The path of a file in the Hugging Face cache, downloaded if it is not there yet.

    Raises:
        ComponentError: if it is not there and cannot be downloaded; says so within seconds.
    """
    cached = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        return cached
    url = huggingface_hub.hf_hub_url(repository, name, revision=revision)
    try:
        _within_deadline(lambda: huggingface_hub.get_hf_file_metadata(url, timeout=CONNECT_SECONDS))
        return str(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except Exception as error:  # the errors of the hub's HTTP client, which has been a different one each few versions
        cause = first_line(error)
        raise ComponentError(
            f"model: the weights {weights!r} of encoder {encoder!r} ({repository}) are not in the cache folder "
            f"{constants.HF_HUB_CACHE} and cannot be downloaded ({cause}).\n"
            "Ways out: start from random weights with --set model.weights=none; or give the path of a file that holds "
            "them, --set model.weights=FILE.safetensors; or run once on a machine with a network and copy its cache "
            "folder here; or point the environment variable HF_HOME to a folder whose hub/ holds them."
        ) from error


def _within_deadline(attempt: Callable[[], Any]) -> None:
    """Run an attempt in a thread that is left behind when time is up: a name look-up cannot be interrupted.

    Raises:
        TimeoutError: when time is up; otherwise whatever the attempt raises.
    """
    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            attempt()
        except Exception as error:  # handed over to the waiting thread
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=run, daemon=True, name="gisegkit-hub").start()
    try:
        error = outcome.get(timeout=DEADLINE_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {DEADLINE_SECONDS:g} s") from None
    if error:
        raise error
