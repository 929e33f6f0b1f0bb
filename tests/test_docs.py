"""The documents are true: their files and commands run, every key, hook, command and component stands in them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gisegkit
from gisegkit.cli import cli, main
from gisegkit.components.datasets.folder import Folder
from gisegkit.components.losses.ratios import BCE
from gisegkit.components.normalizations import FileType
from gisegkit.data.preprocess import Preprocess
from gisegkit.data.slices import SliceReader
from gisegkit.errors import GisegError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.recipe.plan_check import as_plan
from gisegkit.recipe.plan_tables import TABLES
from gisegkit.recipe.sections import SECTIONS
from gisegkit.recipe.text import read
from gisegkit.registry import hookspecs
from gisegkit.registry.kinds import KINDS
from gisegkit.testing import check_normalization
from gisegkit.workflows.plan import open_plan

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("plugins/*/README.md")]
GENERATED = ("benchmarks.md", "components.md")
LONGEST = 250
"""Characters of a line of prose."""


def files_of(page: Path) -> dict[str, str]:
    """The blocks of a page that a ``<!-- file: NAME -->`` line stands above."""
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", page.read_text(), re.DOTALL))


def section_rows(section: str) -> dict[str, str]:
    """Key and default of every row of a section's table in docs/recipes.md."""
    text = (DOCS / "recipes.md").read_text()
    body = text.split(f"## [{section}]", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", body, re.MULTILINE))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_recipe_key_and_default_is_documented(section):
    from gisegkit.registry.annotations import show

    expected = {item.name: show(item.default) for item in fields(SECTIONS[section])}
    assert section_rows(section) == expected


def test_every_component_table_is_documented():
    text = (DOCS / "recipes.md").read_text() + (DOCS / "plugins.md").read_text()
    for kind in KINDS.values():
        assert text.count(f"`{kind.table}`") >= 2, kind.table
        assert f"`add.{kind.name}`" in text


def test_every_hook_has_a_heading_with_its_arguments():
    text = (DOCS / "plugins.md").read_text()
    hooks = [name for name, value in vars(hookspecs).items() if getattr(value, "gisegkit_spec", None)]
    assert sorted(hooks) == ["register_commands", "register_components"]
    for name in hooks:
        argument = getattr(hookspecs, name).__code__.co_varnames[0]
        assert f"### {name}({argument})" in text


def test_every_command_is_on_its_page():
    text = (DOCS / "commands.md").read_text()
    for name in cli.commands:
        assert f"`giseg {name} " in text or f"`giseg {name}`" in text, name


def test_components_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_components", DOCS / "make_components.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "components.md").read_text() == module.page(), "run: python docs/make_components.py"


def prose_of(page: Path) -> str:
    """A page without its blocks of code, in which lines begin with # and brackets mean something else."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", prose_of(page))
    for target, anchor in links:
        if target.startswith("http"):
            continue
        other = page.parent / target if target else page
        assert other.exists(), target
        assert not anchor or anchor in anchors_of(other), f"{target}#{anchor}"


def test_every_page_is_in_the_index():
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (DOCS / "README.md").read_text()))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_one_sentence_a_line(page):
    """Roughly: no line of prose is long, but those of tables and generated pages."""
    lines = [] if page.name in GENERATED else prose_of(page).splitlines()
    assert [line for line in lines if len(line) > LONGEST and not line.startswith("|")] == []


@pytest.mark.parametrize("page", ["../README.md", "augmentation.md", "folds.md", "recipes.md", "tutorial.md"])
def test_recipes_on_pages_load(page, tmp_path):
    registries = load_plugins(selection="none").registries
    recipes = {name: text for name, text in files_of(DOCS / page).items() if name.endswith(".toml")}
    assert recipes
    for name, text in recipes.items():
        (tmp_path / name).write_text(text)
        try:
            load_recipe(tmp_path / name, registries=registries)
        except GisegError as error:
            pytest.fail(str(error))


def test_every_key_of_a_plan_is_documented_and_the_plan_of_the_page_is_right(tmp_path):
    page = DOCS / "plans.md"
    for name, keys in TABLES.items():
        title = "\n`[[run]]`" if name == "run" else f"\n`[{name}]`"
        table = page.read_text().partition(title)[2].partition("\n`[")[0]
        assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(keys), name
    found = as_plan(read(files_of(page)["seeds.toml"], "seeds.toml"))
    assert not found.mistakes and len(found.cells) == 4
    assert found.cells[1].name == "unet-lr0.001-seed1" and found.cells[1].name in page.read_text()


@pytest.mark.parametrize("demo", [False, True])
@pytest.mark.parametrize("file", sorted((ROOT / "plans").glob("*.toml")), ids=lambda file: file.stem)
@pytest.mark.slow
def test_plans_of_the_house_are_right(file, demo):
    work = open_plan(file, load_plugins().registries, out=ROOT / "none", demo=demo)
    assert all(recipe.demo == demo for recipe in work.recipes.values()) and (work.plan.cells or work.plan.searched)
    numbers = Counter(cell.setting for cell in work.plan.cells)
    if file.stem in ("losses", "transformations"):
        assert set(numbers.values()) == {2} and len(numbers) == {"losses": 6, "transformations": 7}[file.stem]


@pytest.mark.parametrize("demo", [False, True])
def test_the_plan_of_the_podium_is_right(demo):
    work = open_plan(ROOT / "plans" / "podium.toml", load_plugins().registries, out=ROOT / "none", demo=demo)
    assert [step.name for step in work.steps][-4:] == ["ensemble", "evaluate", "tune", "predict"]
    recipes = work.recipes
    assert all(recipe.split.several for recipe in recipes.values())
    segmenters = [recipes[name] for name in work.plan.members]
    assert {recipe.train.average for recipe in segmenters} == {"ema", "swa"}
    assert all(recipe.input.slices == 5 and recipe.split.subset == "annotated" for recipe in segmenters)
    assert recipes[work.plan.gate].split.subset == "all"


GISEG = """
import sys
from gisegkit.cli import main

def giseg(*words):
    print("$", *words, flush=True)
    try:
        main(list(words))
    except SystemExit as stop:
        if stop.code:
            raise
"""

COMMANDS = """
import pytest
giseg("list-components", "loss")
giseg("describe", "loss", "edge_bce")
print("$ pytest", flush=True)
assert pytest.main(["-q", "-p", "no:cacheprovider", "giseg-edge/tests"]) == 0
giseg("check", "edge.toml", "--build", "--device", "cpu")
giseg("run", "edge.toml", "--device", "cpu")
"""


@pytest.mark.slow
def test_the_plugin_of_the_page_installs_is_found_passes_its_test_and_trains(tmp_path):
    """docs/first-plugin.md from its first line to its last command, in folders of its own; pip really installs it.

    One process runs all commands, because each imports PyTorch.
    """
    for name, text in files_of(DOCS / "first-plugin.md").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    recipe = (tmp_path / "edge.toml").read_text()  # the same, quicker:
    small = 'encoder = "tu-test_resnet"\ndepth = 3\ndecoder_channels = [16, 8, 8]'
    recipe = recipe.replace('encoder = "resnet18"', small).replace("slices = 12", "slices = 8")
    (tmp_path / "edge.toml").write_text(recipe + 'activation_checkpointing = "off"\n')
    site = tmp_path / "site"
    environment = os.environ | {"GISEG_CACHE": str(tmp_path / "cache"), "NO_ALBUMENTATIONS_UPDATE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), str(ROOT), os.environ.get("PYTHONPATH")]))
    environment.pop("GISEG_PLUGINS", None)

    def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile")
    run(*pip, "--target", str(site), "./giseg-edge")
    sections = re.split(r"^\$ ", run("-c", GISEG + COMMANDS).stdout, flags=re.MULTILINE)
    names = [section.split()[0] for section in sections if section]
    assert names == ["list-components", "describe", "pytest", "check", "run"]
    _, listed, described, _, checked, _ = sections
    assert re.search(r"edge_bce\s+giseg-edge 0\.1\.0\s+Binary cross-entropy with more weight", listed)
    assert "How far a border reaches" in described and "1 or more" in described
    assert "no mistakes" in checked
    assert (tmp_path / "runs" / "edge" / "report.html").is_file()
    assert '"giseg-edge": "0.1.0"' in (tmp_path / "runs" / "edge" / "environment.json").read_text()
    shutil.rmtree(site)
    refused = run("-c", GISEG + 'giseg("check", "edge.toml")', status=2).stderr
    assert "giseg-edge" in refused and "unknown loss 'edge_bce'" in refused and "Traceback" not in refused


def executed(page: str, name: str) -> None:
    """Run a page's block in the current folder."""
    exec(compile(files_of(DOCS / page)[name], name, "exec"), {})


@pytest.fixture
def beside_a_run(finished, tmp_path, monkeypatch):
    """A current folder with a finished run in runs/mine."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(finished[0].path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_trained_model_is_used_from_python_as_the_page_says(beside_a_run, capsys):
    executed("howto.md", "use_model.py")
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["large_bowel", "small_bowel", "stomach"]


@pytest.mark.slow
def test_arrays_are_predicted_as_the_page_says(beside_a_run, capsys):
    executed("api.md", "masks.py")
    assert capsys.readouterr().out.splitlines() == [
        "('large_bowel', 'small_bowel', 'stomach')",
        "(10, 120, 144, 3) bool",
    ]


@pytest.mark.slow
def test_python_trains_evaluates_predicts_and_stops_early_as_the_page_says(home, tmp_path, monkeypatch, capsys):
    shutil.copy(home / "tiny.toml", tmp_path / "mine.toml")
    monkeypatch.chdir(tmp_path)
    executed("api.md", "train_run.py")
    *_, score, file = capsys.readouterr().out.splitlines()
    assert 0 <= float(score) <= 1
    assert file == str(Path("runs/one/predictions/submission.csv"))
    assert (tmp_path / file).is_file()
    executed("api.md", "prune.py")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("1 3 ")
    assert len((tmp_path / "runs/pruned/metrics.jsonl").read_text().splitlines()) == 1


def test_the_functions_of_the_page_have_its_arguments():
    """The table of docs/api.md: names, order and defaults."""
    rows = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", (DOCS / "api.md").read_text(), re.MULTILINE))
    for name in ("load_recipe", "train", "epochs", "evaluate", "predict", "load_run"):
        parameters = inspect.signature(getattr(gisegkit, name)).parameters.values()
        shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}".replace("'", '"') for p in parameters]
        assert rows[name] == ", ".join(shown)
        assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters)[1:]), name


@pytest.mark.slow
def test_a_test_set_is_scored_as_the_page_says(finished, tmp_path, monkeypatch, capsys):
    from gisegkit.data.phantom.writer import write_phantom

    run, _ = finished
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run.path)
    monkeypatch.chdir(tmp_path)
    write_phantom(tmp_path / "TEST", cases=1, days=1, slices=8, seed=5)
    section = (DOCS / "howto.md").read_text().split("## Score your own test set", 1)[1]
    commands = re.search(r"```\n(.*?)```", section, re.DOTALL)[1].splitlines()
    assert len(commands) == 2
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            main(command.split()[1:])
        assert not stop.value.code, capsys.readouterr().err
    assert "scores of 8 slices in 1 scan (test.csv)" in capsys.readouterr().out


def test_every_option_of_a_command_on_a_page_exists():
    pages = "\n".join(page.read_text() for page in PAGES)
    for name, rest in re.findall(r"giseg ([a-z-]+)((?: [^\s`|]+)*)", pages):
        command = cli.commands.get(name)
        if command is not None:
            there = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            assert {word for word in rest.split() if re.fullmatch(r"--[a-z-]+", word)} <= there, (name, rest)


def test_a_window_of_hounsfield_units_reaches_the_network_as_the_page_says(tmp_path):
    """docs/intensities.md: files written by its code, read by the data set folder with the normalization dtype."""
    code: dict[str, Any] = {}
    exec(compile(files_of(DOCS / "intensities.md")["window.py"], "window.py", "exec"), code)
    (tmp_path / "images").mkdir()
    hounsfield = np.array([[-1000.0, -160.0], [40.0, 3000.0]])
    code["save"](hounsfield, tmp_path / "images" / "a.png")
    dataset = Folder(root=str(tmp_path), classes=["liver"])
    stack = SliceReader(dataset, slices=1, stride=1, edge="clamp", preprocess=Preprocess(FileType())).read(0)
    np.testing.assert_allclose(stack[:, :, 0], [[0, 0], [0.5, 1]], atol=1 / 65535)


def test_the_normalization_of_the_page_keeps_the_contract(make_module):
    module = importlib.import_module(make_module(files_of(DOCS / "plugins.md")["peak.py"]))
    check_normalization(module.Peak())


def test_the_house_of_the_design_names_files_that_there_are():
    block = next(text for text in (DOCS / "design.md").read_text().split("```") if "registry/        kinds.py" in text)
    there = {file.name for folder in ("gisegkit", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py")}
    named = set(re.findall(r"\b\w+\.py\b", block)) - {"x.py"}
    assert len(named) > 50 and named - there == set()
    engine = {file.name for file in (ROOT / "gisegkit" / "engine").glob("*.py")} - {"__init__.py"}
    assert engine - named == set(), "each file of the engine is in the picture"


@pytest.mark.slow
def test_the_files_from_the_command_to_backward_are_those_of_the_design(tmp_path, monkeypatch):
    """docs/design.md names every file of gisegkit that is on the stack when backward reaches a loss: nine at most."""
    recipe = files_of(DOCS / "recipes.md")["small.toml"].replace('encoder = "resnet18"', 'encoder = "tu-test_resnet"')
    (tmp_path / "small.toml").write_text(recipe)
    stacks: list[list[str]] = []

    def watched(loss: BCE, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if logits.requires_grad:
            logits.register_hook(lambda _: stacks.append([frame.filename for frame in traceback.extract_stack()]))
        return forward(loss, logits, target)

    forward = BCE.forward
    monkeypatch.setattr(BCE, "forward", watched)
    settings = ("input.size=[32,32]", "dataset.cases=2", "dataset.days=1", "dataset.slices=8", "split.folds=2")
    options = [word for setting in (*settings, "train.epochs=1", "train.batch_size=8") for word in ("--set", setting)]
    with pytest.raises(SystemExit) as stop:
        main(["train", str(tmp_path / "small.toml"), "--device", "cpu", "--out", str(tmp_path / "run"), *options])
    assert not stop.value.code
    section = (DOCS / "design.md").read_text().split("### From the command to `loss.backward()`", 1)[1]
    listed = re.findall(r"^\| `(gisegkit/\S+\.py)` \|", section.split("\n##", 1)[0], re.MULTILINE)
    package = Path(gisegkit.__file__).parent
    for stack in stacks:
        files = [Path(file) for file in stack if package in Path(file).parents]
        assert list(dict.fromkeys(file.relative_to(package.parent).as_posix() for file in files)) == listed
    assert stacks
    assert len(listed) <= 9
