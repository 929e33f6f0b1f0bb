"""Registries: names are promises, unknown ones get the nearest and all that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from gisegkit.errors import ComponentError
from gisegkit.registry.kinds import KINDS, Component, Owner, Registries, Registry
from gisegkit.registry.signatures import load_path

MINE = Owner("giseg-mine", "1.2")
YOURS = Owner("giseg-yours", "3.4")


def registry(*names: str) -> Registry:
    result = Registry(KINDS["loss"])
    for name in names:
        result.add(Component("loss", name, "a.b:C", MINE))
    return result


def test_get_and_iterate():
    losses = registry("tversky", "bce")
    assert list(losses) == ["bce", "tversky"]
    assert len(losses) == 2
    assert "bce" in losses
    assert "dice" not in losses
    assert losses.get("bce") == Component("loss", "bce", "a.b:C", MINE)


def test_a_collision_names_both_owners_and_keeps_the_first():
    losses = registry("bce")
    with pytest.raises(
        ComponentError, match=r"'bce': one of giseg-mine 1\.2 and one of giseg-yours 3\.4.*GISEG_PLUGINS"
    ):
        losses.add(Component("loss", "bce", "x:Y", YOURS))
    assert losses.get("bce").owner == MINE


def test_an_unknown_name_gets_the_nearest_all_and_the_recall():
    losses = registry("bce", "tversky")
    losses.recall = "It may belong to a plugin that does not load: x."
    with pytest.raises(ComponentError) as caught:
        losses.get("tverski")
    message = "there is no loss 'tverski'; did you mean 'tversky'? There are: bce, tversky. It may belong to a plugin"
    assert str(caught.value).startswith(message)


def test_an_empty_registry_says_so():
    with pytest.raises(ComponentError, match=r"there is no loss 'bce'; there are: none\."):
        registry().get("bce")


def test_registries_by_kind():
    registries = Registries()
    registries["loss"].add(Component("loss", "bce", "x:Y", MINE))
    registries["model"].add(Component("model", "net", "x:Z", MINE))
    assert [component.name for component in registries] == ["net", "bce"]  # the order of KINDS
    with pytest.raises(
        ComponentError, match=r"no kind 'losses'; did you mean 'loss'\? Kinds: dataset, normalization, model, loss"
    ):
        registries["losses"]
    with pytest.raises(ComponentError, match="there is no kind 'zzz'; kinds: dataset"):
        registries["zzz"]


def test_registries_do_not_share_components():
    Registries()["loss"].add(Component("loss", "bce", "x:Y", MINE))
    assert len(Registries()["loss"]) == 0


def test_every_kind_has_a_check_and_its_defaults_are_registered(registries):
    for kind in KINDS.values():
        assert callable(load_path(kind.check))
        assert all(name in registries[kind.name] for name in kind.default)
        assert kind.many or len(kind.default) <= 1
        assert not (kind.needed and kind.default)


@pytest.mark.parametrize("target", ["nowhere:X", "no path", 3, dict])
def test_a_signature_that_cannot_be_read_names_the_owner(target):
    with pytest.raises(ComponentError, match=r"^loss 'x' of giseg-mine 1\.2: "):
        Component("loss", "x", target, MINE).signature()


@pytest.mark.parametrize("text", ["def f(:", "x = '\0'", "def f(*, x: Annotated[int, AtLeast(]): ..."])
def test_source_that_is_no_python_names_the_owner(make_module, text):
    with pytest.raises(ComponentError, match=r"^loss 'x' of giseg-mine 1\.2: "):
        Component("loss", "x", f"{make_module(text)}:f", MINE).signature()


def test_load_gives_the_factory(make_module):
    name = make_module("def f(): return 3\n")
    assert Component("loss", "x", f"{name}:f", MINE).load()() == 3
    assert Component("loss", "x", Path, MINE).load() is Path


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise RuntimeError('no license')", "RuntimeError: no license"),
        ("def g(): ...", "AttributeError: .*'f'"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_factory_that_cannot_be_imported_names_owner_and_cause(make_module, text, cause):
    with pytest.raises(ComponentError, match=rf"loss 'x' of giseg-mine 1\.2 cannot be imported: {cause}") as caught:
        Component("loss", "x", f"{make_module(text)}:f", MINE).load()
    assert caught.value.__cause__ is not None
