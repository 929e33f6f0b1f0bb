"""Which run folders hold several networks, and what is said of members that are not there."""

from __future__ import annotations

import json
import shutil

import pytest

from gisegkit.errors import RunError
from gisegkit.runs.folder import RunDir
from gisegkit.runs.members import as_content, folds_of, is_ensemble, members_of, networks_of


@pytest.fixture
def make(tmp_path):
    """Writes a run folder with a recipe's text, and empty ones for folds."""

    def make(name, text="seed = 0\n", folds=()):
        run = RunDir.create(tmp_path / name, recipe=text, environment={}, demo=False)
        for fold in folds:
            RunDir.create(run.path / f"fold{fold}", recipe="seed = 0\n", environment={}, demo=False)
        return run

    return make


@pytest.fixture
def ensemble(make, tmp_path):
    """An ensemble of a run and of one with two folds."""
    make("plain"), make("folds", 'split = {folds = 2, fold = "all"}', (0, 1))
    run = make("e")
    members = [{"run": "../plain", "weight": 0.25, "digests": ["x"]}]
    members += [{"run": "../folds", "weight": 0.75, "digests": ["y", "z"]}]
    run.write_json("ensemble.json", {"format": 1, "members": members, "gate": None})
    return run


@pytest.mark.parametrize(
    ("text", "folds"),
    [
        ("seed = 0", ()),
        ("split.fold = 1", ()),
        ('split.fold = "all"', (0, 1, 2, 3, 4)),
        ('split = {folds = 3, fold = "all"}', (0, 1, 2)),
        ("split.fold = [3, 1]", (3, 1)),
    ],
)
def test_the_recipe_says_which_folds_there_are(make, text, folds):
    run = make("run", text)
    assert folds_of(run) == folds
    assert members_of(make("other")) == ()


def test_a_recipe_that_is_no_toml_is_named(make):
    with pytest.raises(RunError, match=r"recipe\.toml cannot be read"):
        folds_of(make("run", "split = ["))


def test_a_run_of_folds_is_its_own_member(make):
    run = make("run", "split.fold = [1, 3]", (1, 3))
    (member,) = members_of(run)
    assert (member.run, member.weight, member.share, member.digests) == (run, 1.0, 0.5, ())
    assert [network.path.name for network in member.networks] == ["fold1", "fold3"]
    assert networks_of(make("plain"))[0].path.name == "plain"


def test_an_ensemble_names_its_members_relative_to_itself(ensemble, tmp_path):
    assert is_ensemble(ensemble)
    one, two = members_of(ensemble)
    assert [(member.label, member.weight) for member in (one, two)] == [("../plain", 0.25), ("../folds", 0.75)]
    assert [network.path.name for network in two.networks] == ["fold0", "fold1"] and two.share == 0.375
    again = as_content(ensemble.path, (one, two))
    assert again == json.loads((ensemble.path / "ensemble.json").read_text())
    for name in ("e", "plain", "folds"):
        (tmp_path / "moved").mkdir(exist_ok=True)
        shutil.move(tmp_path / name, tmp_path / "moved" / name)
    assert len(members_of(RunDir.open(tmp_path / "moved" / "e" / "ensemble.json"))) == 2


def test_a_member_that_is_gone_or_lost_a_fold_is_named(ensemble, tmp_path):
    shutil.rmtree(tmp_path / "folds" / "fold1")
    with pytest.raises(RunError, match=r"lacks the runs of folds .*folds/fold1"):
        members_of(ensemble)
    (tmp_path / "plain").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"member \.\./plain is not there .*moved or deleted.*giseg ensemble"):
        members_of(ensemble)


def test_a_member_with_more_networks_than_before_is_refused(ensemble, make, tmp_path):
    (tmp_path / "plain" / "recipe.toml").write_text('split = {folds = 2, fold = "all"}')
    for fold in (0, 1):
        make(f"plain/fold{fold}")
    with pytest.raises(RunError, match=r"has 2 networks now and had 1"):
        members_of(ensemble)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", 9, "is of format 9"),
        ("members", [], "is damaged"),
        ("members", [{"run": "../plain", "weight": 0, "digests": ["x"]}], "is damaged"),
        ("members", [{"run": "../plain", "weight": 1}], "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(ensemble, key, value, words):
    file = ensemble.path / "ensemble.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(RunError, match=rf"ensemble\.json {words}"):
        members_of(ensemble)
