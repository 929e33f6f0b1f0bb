"""The command line as a person meets it: what it prints, where it says results are, and how it answers mistakes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gisegkit.cli import main, output, several
from gisegkit.engine.world import PeerLost
from gisegkit.plugins import load_plugins

pytestmark = pytest.mark.slow  # whole trainings or processes

RECIPE = """
name = "cli"

[dataset]
name = "uwmgi"
root = "phantom"

[input]
size = [32, 32]

[split]
folds = 2

[model]
name = "unet"
encoder = "tu-test_resnet"
weights = "none"
depth = 3
decoder_channels = [16, 8, 8]

[[loss]]
name = "bce"

[optimizer]
name = "adam"

[train]
epochs = 1
batch_size = 8
activation_checkpointing = "off"
"""

MISTAKES = """name = "ten mistakes"
[datasett]
name = "uwmgi"
[dataset]
name = "uwmg"
[input]
size = 224
[split]
fold = 9
[model]
name = "unet"
encodr = "resnet34"
classes = 3
[[loss]]
name = "tversky"
alpha = -1.0
[[postprocess]]
name = "min_area"
[optimizer]
name = "adam"
lr = "fast"
[train]
epoch = 3
precision = half
"""

FOUND = [
    (1, "cannot name a folder"),
    (2, "unknown table 'datasett'"),
    (5, "unknown dataset 'uwmg'"),
    (7, "input.size = 224"),
    (9, "split.fold = 9"),
    (12, "unknown parameter 'encodr'"),
    (13, "'classes' of model 'unet' is set by the dataset"),
    (16, "loss.0.alpha = -1.0"),
    (17, "needs the parameter 'pixels'"),
    (21, 'optimizer.lr = "fast"'),
    (23, "unknown key 'epoch' in [train]"),
    (24, "not TOML"),
]


@pytest.fixture(autouse=True)
def only_built_ins(monkeypatch, tmp_path):
    monkeypatch.setenv("GISEG_CACHE", str(tmp_path / "cache"))
    plugins = load_plugins(selection="none")
    monkeypatch.setattr("gisegkit.cli.installed", lambda: plugins)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cli.toml").write_text(RECIPE)
    Path("true.csv").write_text("id,class,segmentation,width,height\na,organ,1 2,4,4\n")
    return tmp_path


def giseg(capsys, *arguments, code=0):
    """Run a command; returns what it printed to standard output and to standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert (stop.value.code or 0) == code, printed.out + printed.err
    assert "Traceback" not in printed.err
    return printed.out, printed.err


def test_help_lists_every_command(capsys):
    out, _ = giseg(capsys, "--help")
    for name in (
        "run",
        "train",
        "evaluate",
        "predict",
        "compare",
        "check",
        "data",
        "prepare",
        "show",
        "phantom",
        "score",
        "list-components",
        "describe",
    ):
        assert re.search(rf"^  {name} ", out, re.MULTILINE)


def test_a_phantom_with_lesions_tells_a_command_with_its_class(here, capsys):
    out, _ = giseg(capsys, "phantom", "p", "--cases", 1, "--days", 1, "--slices", 8, "--test-cases", 0, "--lesions", 2)
    assert """'dataset.classes=["large_bowel", "small_bowel", "stomach", "lesion"]'""" in out


def test_check_says_how_slices_come_to_the_network(here, capsys):
    crops = ("--set", "input.mode=crop", "--set", "input.crops=3")
    assert "input: one slice, stretch to " in giseg(capsys, "check", "cli.toml", "--no-data")[0]
    for scale, said in ((1, "native resolution"), (0.5, "0.5 of the native resolution")):
        out, _ = giseg(capsys, "check", "cli.toml", "--no-data", *crops, "--set", f"input.scale={scale}")
        assert "input: one slice, 3 crops of " in out and f" from each slice at {said} (" in out


@pytest.mark.slow
def test_the_whole_way_from_data_to_score(here, capsys, half_size):
    with half_size():
        out, _ = giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 10, "--test-cases", 1)
    assert out.splitlines()[0].startswith("phantom: phantom")
    out, _ = giseg(capsys, "data", "cli.toml")
    assert "3 cases, 3 scans, 30 slices: 20 labelled, 10 not" in out and "nothing found in 30 slices" in out
    assert "small_bowel: in" in out and "split: 10 slices train, 10 validate" in out
    out, _ = giseg(capsys, "check", "cli.toml")
    assert "model: unet (encoder" in out and "effective batch 8 slices" in out and out.endswith("no mistakes\n")
    out, _ = giseg(capsys, "run", "cli.toml", "--device", "cpu")
    assert "epoch 1/1  loss" in out and "run folder: runs/cli\n" in out and "demo" not in out.lower()
    assert re.search(r"^  dice \d\.\d{4} \[1\]  large_bowel ", out, re.MULTILINE)
    assert re.search(r"^  \[1\] Dice per slice and class, both empty skipped", out, re.MULTILINE)
    out, _ = giseg(capsys, "run", "cli.toml", "--device", "cpu", "--resume")
    assert "resuming after epoch 1 of 1" in out
    out, _ = giseg(capsys, "predict", "runs/cli", "--part", "validation", "--out", "fold.csv", "--device", "cpu")
    assert "submission: fold.csv (10 slices, validation)" in out
    out, _ = giseg(capsys, "evaluate", "runs/cli", "--root", "phantom", "--device", "cpu")
    dice = re.search(r"dice (\d\.\d{4})", out)
    assert dice is not None
    out, _ = giseg(capsys, "score", "fold.csv", "phantom/train.csv")
    assert f"  dice {dice[1]}" in out and "not scored: 1 scan of" in out and "valid" in out
    out, _ = giseg(capsys, "score", "fold.csv", "phantom/train.csv", "--json")
    assert f"{json.loads(out)['scores']['dice']:.4f}" == dice[1]
    out, _ = giseg(capsys, "score", "fold.csv", "phantom/train.csv", "--metric", "nsd")
    assert "share of both surfaces within 3 mm" in out and "dice" not in out
    out, _ = giseg(capsys, "score", "runs/cli/predictions/submission.csv", "phantom/test_truth.csv")
    assert "scores of 10 slices in 1 scan (" in out


def test_ten_mistakes_and_more_in_one_report(here, capsys):
    Path("bad.toml").write_text(MISTAKES)
    _, err = giseg(capsys, "check", "bad.toml", code=2)
    assert f"bad.toml: {len(FOUND)} mistakes" in err
    for line, text in FOUND:
        assert re.search(rf"bad\.toml:{line}: .*{re.escape(text)}", err), (line, text, err)
    assert "did you mean 'encoder'?" in err and "did you mean 'epochs'?" in err and "did you mean 'uwmgi'?" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chekc", "cli.toml"], "did you mean 'check'?"),
        (["check", "clii.toml"], "no such recipe"),
        (["check", "cli.toml", "--set", "train.epohcs=3"], "did you mean 'epochs'?"),
        (["check", "cli.toml", "--set", "train.epochs"], "no key=value"),
        (["describe", "los", "dice"], "did you mean 'loss'?"),
        (["describe", "loss", "dise"], "did you mean 'dice'?"),
        (["list-components", "modle"], "did you mean 'model'?"),
        (["describe", "loss", "edge"], "there is no loss 'edge'; there are: bce, ce,"),
        (["describe", "widget"], "there is no kind 'widget'; kinds: dataset, normalization, model,"),
        (["widget"], "no command 'widget'; there are: init, run, train,"),
        (["evaluate", "runs/none"], "not a run folder"),
        (["predict", "runs/none"], "not a run folder"),
        (["run", "cli.toml", "--device", "gpu"], "no such device"),
        (["score", "none.csv", "train.csv"], "train.csv"),
        (["score", "none.csv", "true.csv"], "none.csv"),
        (["score", "none.csv", "true.csv", "--metric", "hd59"], "did you mean 'hd95'?"),
        (["data", "cli.toml"], "dataset.root="),
        (["show", "cli.toml"], "dataset.root="),
        (["show", "clii.toml"], "no such recipe"),
        (["show", "cli.toml", "--demo", "--out", "picture.jpg"], "its name end in .png"),
        (["show", "cli.toml", "--demo", "--epoch", "999"], "--epoch 999: training has"),
        (["show", "cli.toml", "--count", "17"], "1<=x<=16"),
        (["run", "cli.toml"], "--demo"),
        (["run", "cli.toml"], "kaggle competitions download"),
    ],
)
def test_a_typo_in_every_place_is_answered_in_words(here, capsys, arguments, message):
    _, err = giseg(capsys, *arguments, code=2)
    assert message in err


def test_what_is_prepared_is_told_though_nothing_can_be_split(here, capsys):
    giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 16, "--test-cases", 0)
    giseg(capsys, "prepare", "cli.toml")
    giseg(capsys, "prepare", "cli.toml", "--set", "input.size=[48,48]")
    out, _ = giseg(capsys, "data", "cli.toml", "--quick", "--set", "split.folds=9", code=1)
    assert "error: split: the recipe: 9 folds need" in out and "prepared: 32 slices, 0 of them now" in out
    assert re.search(r"^  \d+ MiB more in .*/cache/store/uwmgi-[0-9a-f]{8}: of other recipes", out, re.MULTILINE)


def test_preparing_tells_what_it_could_not_prepare(here, capsys):
    giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 10, "--test-cases", 0)
    for folder in ("images", "masks"):
        Path("pairs", folder).mkdir(parents=True)
        for number, file in enumerate(sorted(Path("phantom").rglob("slice_*.png"))[:3]):
            shutil.copy(file, Path("pairs", folder, f"{number}.png"))
    Path("pairs/images/1.png").write_bytes(Path("pairs/images/1.png").read_bytes()[:90])
    Path("pairs.toml").write_text(
        Path("cli.toml")
        .read_text()
        .replace(
            '"uwmgi"\nroot = "phantom"', '"folder"\nroot = "pairs"\nclasses = ["masks"]\nmasks = "."\nthreshold = 1'
        )
    )
    out, err = giseg(capsys, "prepare", "pairs.toml", code=2)
    assert "prepared: 2 slices" in out and "unreadable file: pairs/images/1.png: the file is cut off" in err


def test_a_cache_that_cannot_be_written_is_answered_in_words(here, capsys, monkeypatch):
    giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 10, "--test-cases", 0)
    Path("file").write_text("")
    monkeypatch.setenv("GISEG_CACHE", "file")
    for verb in ("prepare", "run"):
        _, err = giseg(capsys, verb, "cli.toml", code=2)
        assert "let $GISEG_CACHE name a folder" in err and "--set input.store=off" in err
    out, _ = giseg(capsys, "data", "cli.toml", "--quick")
    assert "prepared: no slice yet; training prepares them in " in out and "more in" not in out


def test_debug_shows_the_traceback(here, capsys):
    from gisegkit.errors import GisegError

    with pytest.raises(GisegError):
        main(["--debug", "check", "nowhere.toml"])


def test_demo_prints_every_value_that_it_overrides(here, capsys):
    out, _ = giseg(capsys, "check", "cli.toml", "--demo")
    assert 'demo: dataset.name = "phantom" (the recipe says "uwmgi")' in out
    assert "demo: train.epochs = " in out and "(the recipe says 1)" in out
    assert "DEMO: phantoms, not real data" in out
    assert 'root = "phantom"' not in out  # the parameters of the replaced dataset are gone


@pytest.mark.slow
def test_demo_marks_everything(here, capsys):
    quick = [
        "train.epochs=1",
        "dataset.cases=2",
        "dataset.days=1",
        "dataset.slices=10",
        "split.folds=2",
        "input.size=[32, 32]",
    ]
    sets = [part for value in quick for part in ("--set", value)]
    out, _ = giseg(capsys, "run", "cli.toml", "--demo", "--device", "cpu", *sets)
    run = Path("runs/cli-demo")
    assert "DEMO on phantoms" in out and "runs/cli-demo (demo)" in out
    assert (run / "DEMO.txt").is_file()
    assert json.loads((run / "evaluation/scores.json").read_text())["demo"] is True
    assert "demo = true" in (run / "recipe.toml").read_text()
    assert "DEMO" in (run / "report.html").read_text()
    giseg(capsys, "train", "cli.toml", "--demo", "--device", "cpu", *sets)
    assert Path("runs/cli-demo-2/last.pt").is_file()


def test_check_build(here, capsys):
    giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 10, "--test-cases", 0)
    out, _ = giseg(capsys, "check", "cli.toml", "--build", "--device", "cpu")
    assert re.search(r"unet: [\d,]+ parameters in \d+ tensors", out)
    assert "input [B, 1, 32, 32], output [B, 3, 32, 32]" in out
    assert "one batch of 2: loss" in out
    assert not Path("runs").exists()


def test_a_run_to_start_from_that_is_not_there(here, capsys):
    for more in (["--no-data"], []):
        _, err = giseg(capsys, "check", "cli.toml", *more, "--set", "train.init_from=runs/none", code=2)
        assert "train.init_from: runs/none is not a run folder: it has no recipe.toml" in err and "cli.toml" in err


def test_show_says_where_the_picture_is_and_what_it_shows(here, capsys):
    giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 10, "--test-cases", 0)
    out, _ = giseg(capsys, "show", "cli.toml")
    assert out.splitlines() == ["picture: cli-batch.png", "cli: epoch 1, batch 1 of 2, 8 slices"]
    assert Path("cli-batch.png").read_bytes().startswith(b"\x89PNG")
    few = ("--set", "dataset.cases=6", "--set", "split.folds=6", "--set", "dataset.slices=8")
    out, _ = giseg(capsys, "show", "cli.toml", "--demo", *few, "--batch", 2, "--count", 1, "--out", "here/a.png")
    assert out.splitlines()[-2] == "picture: here/a.png (demo)"
    assert re.search(r"^cli: epoch 1, batch 2 of \d+, 8 slices, the first shown$", out, re.MULTILINE)
    assert Path("here/a.png").is_file() and not Path("runs").exists()


def test_a_phantom_in_the_way_is_left_alone(here, capsys):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    _, err = giseg(capsys, "phantom", "mine", code=2)
    assert "mine" in err and Path("mine/notes.txt").read_text() == "mine"


def test_list_components_json(capsys):
    out, _ = giseg(capsys, "list-components", "loss", "--json")
    entries = json.loads(out)
    every = {"bce", "ce", "dice", "focal", "focal_tversky", "jaccard", "lovasz", "tversky"}
    assert {entry["name"] for entry in entries} == every
    assert {entry["distribution"] for entry in entries} == {"gisegkit"}


def test_describe(capsys):
    out, _ = giseg(capsys, "describe", "loss", "tversky")
    assert "[[loss]]" in out and "alpha = " in out and "paper: Salehi" in out and "weight = 1.0" in out
    out, _ = giseg(capsys, "describe", "model", "unet", "--json")
    names = [parameter["name"] for parameter in json.loads(out)["parameters"]]
    assert "encoder" in names and "classes" not in names


def test_describe_without_a_name_lists_the_kind(capsys):
    out, _ = giseg(capsys, "describe", "loss")
    assert re.search(r"^  loss  tversky ", out, re.MULTILINE) and "8 components; giseg describe loss NAME" in out
    assert out.replace("loss NAME", "") == giseg(capsys, "list-components", "loss")[0].replace("loss NAME", "")
    entries = json.loads(giseg(capsys, "describe", "loss", "--json")[0])
    assert {entry["kind"] for entry in entries} == {"loss"}


def test_conventions_are_notes_and_directions_stand_beside_scores(capsys):
    scores = {
        "slices": 1,
        "scans": 1,
        "part": "validation",
        "scores": {"uwmgi_score": 0.5, "uwmgi_score/hausdorff": 0.25, "hd95": 5.0, "hd95/liver": 4.0},
        "conventions": {"uwmgi_score": "a mixture", "hd95": "in mm"},
        "higher_is_better": {"uwmgi_score": True, "uwmgi_score/hausdorff": False, "hd95": False, "hd95/liver": False},
    }
    output.print_scores(scores)
    assert capsys.readouterr().out.splitlines() == [
        "scores of 1 slice in 1 scan (validation)",
        "  uwmgi_score 0.5000 [1]  hausdorff 0.2500 (lower is better)",
        "  hd95 5.0000 (lower is better) [2]  liver 4.0000",
        "  [1] a mixture",
        "  [2] in mm",
    ]


def test_progress_without_a_terminal_is_plain_lines(capsys, monkeypatch):
    times = iter([0.0, 1.0, 6.0, 12.0, 13.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(times))
    assert list(output.progress(range(4), "work", 4)) == [0, 1, 2, 3]
    assert capsys.readouterr().err == "work: 2/4, 0.17/s, 12 s left\n"


def test_progress_on_a_terminal_is_a_bar_with_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for _ in output.progress(range(4), "work", 4):
        time.sleep(0.15)
    assert re.search(r"work: +(50|75)%.* [23]/4 \[\d\d:\d\d<\d\d:\d\d, .*it/s\]", capsys.readouterr().err)


def test_broken_plugin_is_one_line(monkeypatch, capsys):
    from gisegkit.plugins import Failure
    from gisegkit.registry.kinds import Owner

    plugins = load_plugins(selection="none")
    plugins.failures.append(Failure(Owner("giseg-bad", "0.3"), "ModuleNotFoundError: No module named 'bad'"))
    monkeypatch.setattr("gisegkit.cli.installed", lambda: plugins)
    _, err = giseg(capsys, "list-components", "loss")
    assert err == (
        "warning: plugin giseg-bad 0.3 does not load: ModuleNotFoundError: No module named 'bad' (it is left out)\n"
    )


def test_check_memory_needs_neither_data_nor_a_gpu(here, capsys):
    out, _ = giseg(capsys, "check", "cli.toml", "--memory", "--budget", "16GiB")
    assert "on cuda in bf16" in out and "the data are not here: assuming grey slices and 3 classes" in out
    assert re.search(r"^  together +[\d.]+ \w+  of 16.00 GiB$", out, re.MULTILINE)
    assert "plan: all 8 slices at once" in out
    assert "on cpu in fp32" in giseg(capsys, "check", "cli.toml", "--memory")[0]


def test_a_budget_that_is_no_size_is_refused(here, capsys):
    _, error = giseg(capsys, "check", "cli.toml", "--budget", "16", code=2)
    assert "'16' is no size; write a number with its unit" in error


def test_check_says_when_a_loss_counts(here, capsys):
    sets = ("--set", "train.epochs=5", "--set", "loss.0.end_epoch=2", "--set", "loss.1.name=dice")
    out, _ = giseg(capsys, "check", "cli.toml", "--no-data", *sets, "--set", "loss.1.start_epoch=3")
    assert re.search(r"^loss: 1 x bce, from epoch 1 to 2 ", out, re.MULTILINE)
    assert re.search(r"^loss: 1 x dice, from epoch 3 to the last \(", out, re.MULTILINE)


def test_check_does_not_call_right_what_lacks_its_data(here, capsys):
    sets = ("--set", "dataset.root=/no where", "--set", "train.epochs=3")
    out, err = giseg(capsys, "check", "cli.toml", *sets, code=2)
    assert "no mistakes" not in out + err
    assert 'dataset.root = "/no where" does not exist' in err and "--no-data" in err and "--demo" in err
    assert "giseg data cli.toml --set 'dataset.root=/no where' --set train.epochs=3" in out
    giseg(capsys, "check", "cli.toml", *sets, "--build", code=2)
    out, _ = giseg(capsys, "check", "cli.toml", *sets, "--no-data")
    assert out.endswith("cli.toml: no mistakes in the recipe; its data were not looked at\n")
    out, _ = giseg(capsys, "check", "cli.toml", *sets, "--budget", "16GiB")
    assert "no mistakes" not in out and "the recipe is right; its data are not there" in out
    giseg(capsys, "check", "cli.toml", "--build", "--no-data", code=2)


def test_check_counts_what_trains_and_keeps_its_lines_short(here, capsys):
    giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 10, "--test-cases", 0)
    out, _ = giseg(capsys, "check", "cli.toml", "--set", "metric.0.name=uwmgi_score", "--set", "train.epochs=3")
    assert "data: 10 slices train, 10 validate; 2 steps per epoch, 6 in all\n" in out
    assert "giseg data" not in out
    assert max(map(len, out.splitlines())) <= 125
    assert out.endswith("cli.toml: no mistakes\n")


def test_a_renamed_loss_says_what_it_leaves_out(here, capsys):
    sets = ("--set", "loss.0.alpha=0.5", "--set", "loss.0.name=tversky", "--set", "optimizer.name=sgd")
    text = RECIPE.replace('name = "adam"', 'name = "adam"\nbetas = [0.8, 0.9]\nlr = 0.1')
    Path("cli.toml").write_text(text)
    out, _ = giseg(capsys, "check", "cli.toml", "--no-data", *sets)
    assert "--set optimizer.name=sgd: left out, because they belong to optimizer 'adam': betas, lr" in out


def test_the_phantom_names_a_command_that_works(here, capsys):
    for cases, folds in ((1, ["split.folds=1"]), (6, [])):
        out, _ = giseg(capsys, "phantom", f"of {cases}", "--cases", cases, "--days", 1, "--slices", 8)
        assert out.splitlines()[0].startswith(f"phantom: of {cases} ({cases} scan")
        verb, recipe, *rest = shlex.split(out.splitlines()[1].removeprefix("  use it: giseg "))
        assert verb == "run"
        assert rest[1::2] == [f"dataset.root=of {cases}", "model.weights=none", *folds]
        out, _ = giseg(capsys, "check", recipe, *rest)
        assert f"{recipe}: no mistakes" in out


# --- interruptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_what_is_kept_and_how_to_go_on(here, capsys, monkeypatch, number):
    """A real signal in mid-training; the command that is printed goes on."""

    def say(line):
        output.say(line)
        if line.startswith("epoch 1/"):
            os.kill(os.getpid(), number)

    giseg(capsys, "phantom", "phantom", "--cases", 2, "--days", 1, "--slices", 8, "--test-cases", 0)
    out = f"runs/{number.name}"
    arguments = ["train", "cli.toml", "--device", "cpu", "--set", "train.epochs=2", "--out", out]
    arguments += ["--set", "train.micro_batch=0"]
    with monkeypatch.context() as patch:
        patch.setattr("gisegkit.cli.options.say", say)
        _, printed = giseg(capsys, *arguments, code=128 + number)
    command = f"giseg {' '.join(arguments)} --resume"
    line = f"interrupted in epoch 2; 1 epoch is kept in {out}/last.pt; resume: {command}"
    assert printed.strip().splitlines()[-1] == line
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    printed, _ = giseg(capsys, *command.split()[1:])
    assert "resuming after epoch 1 of 2" in printed and "epoch 2/2" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_without_a_run_says_that_nothing_was_written(here, capsys, monkeypatch, number):
    monkeypatch.setattr("gisegkit.plugins.Plugins.warnings", lambda self: os.kill(os.getpid(), number) or [])
    _, printed = giseg(capsys, "check", "cli.toml", code=128 + number)
    assert printed.strip() == "interrupted; nothing was written"


def test_a_free_default_name_is_not_one_that_another_process_has_just_taken(here, capsys):
    from gisegkit.cli.options import run_folder
    from gisegkit.recipe.load import load_recipe
    from gisegkit.runs.locks import locked

    recipe = load_recipe("cli.toml", registries=load_plugins(selection="none").registries)
    assert run_folder(recipe, None, resume=False) == Path("runs/cli")
    with locked(Path("runs/cli"), print):
        code = "from pathlib import Path; from gisegkit.runs.locks import is_locked; print(is_locked(Path('runs/cli')))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "True\n"
    Path("runs/cli").mkdir(parents=True)
    (Path("runs/cli") / "notes.txt").write_text("mine")
    assert run_folder(recipe, None, resume=False) == Path("runs/cli-2")
    assert capsys.readouterr().out == (
        "runs/cli exists already, so this is a new run: runs/cli-2 (--resume continues runs/cli)\n"
    )
    assert run_folder(recipe, None, resume=True) == Path("runs/cli")
    assert not capsys.readouterr().out
    shutil.copytree("runs/cli", "runs/cli-2")
    assert run_folder(recipe, None, resume=True) == Path("runs/cli-2")
    assert capsys.readouterr().out == "resuming runs/cli-2, the newest of 2 runs; --out names another one\n"


def test_data_of_which_no_slice_can_be_used_are_told_like_others(here, capsys):
    for folder in ("images", "masks"):
        (here / "d" / folder).mkdir(parents=True)
        for name in "ab":
            (here / "d" / folder / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    (here / "d.toml").write_text(
        'name = "d"\n[dataset]\nname = "folder"\nroot = "d"\nlabels = {x = 1}\n[model]\nname = "unet"\n'
        '[[loss]]\nname = "bce"\n[optimizer]\nname = "adam"\n'
    )
    out, _ = giseg(capsys, "data", "d.toml", "--fix", "list.csv", code=1)
    lines = out.splitlines()
    assert lines[0].startswith("error: unreadable file") and "d/images/a.png" in lines[0]
    assert lines[-1].endswith("in the slices of folder, of which none can be used: training would be wrong")
    assert {line.split(",")[0] for line in (here / "list.csv").read_text().splitlines()[1:]} == {"a", "b"}


def test_what_a_lost_process_costs_depends_on_the_command(capsys):
    lost = PeerLost("another process of this run has ended")
    several.tell(lost, ["predict", "runs/run"])
    assert "Start the command again" in capsys.readouterr().err
    several.tell(lost, ["--debug", "train", "predict.toml"])
    assert "kept in last.pt, and --resume continues" in capsys.readouterr().err
