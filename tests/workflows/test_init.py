"""``giseg init`` from a folder to a recipe that checks, builds and trains a batch, and what it refuses."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from gisegkit.build.session import Session
from gisegkit.cli import main
from gisegkit.data.phantom.writer import write_phantom
from gisegkit.errors import DataError, RunError
from gisegkit.plugins import load_plugins
from gisegkit.recipe.load import load_recipe
from gisegkit.workflows.check import smoke_test
from gisegkit.workflows.init import init


@pytest.fixture(scope="module")
def console():
    return Session(load_plugins(selection="none"), "cpu")


def pairs(root, *, names=("a", "b", "c", "d"), values=(0, 1), size=64, dtype=np.uint8, low=0, images="images"):
    """Images and label files: a square of each value on noise, a different one in each image."""
    rng = np.random.default_rng(0)
    for folder in (root / images, root / "masks"):
        folder.mkdir(parents=True, exist_ok=True)
    ending = ".tif" if low < 0 else ".png"
    for number, name in enumerate(names):
        mask = np.full((size, size), values[0], dtype=np.uint8)
        for index, value in enumerate(values[1:]):
            mask[4 + number : 24, 4 + 24 * index : 24 + 24 * index] = value
        image = rng.integers(low, 250, (size, size)) + 2 * (mask > 0)
        image[0, 0] = low
        cv2.imwrite(str(root / images / (name + ending)), image.astype(dtype))
        cv2.imwrite(str(root / "masks" / f"{name}.png"), mask)
    return root


def test_the_recipe_says_what_was_seen_and_is_what_is_read_back(tmp_path, console, registries):
    drafted = init(pairs(tmp_path / "My data!", values=(0, 1, 255)), tmp_path / "recipe.toml", console=console)
    recipe = load_recipe(tmp_path / "recipe.toml", registries=registries)
    assert recipe == drafted.recipe
    assert recipe.name == "my_data"
    assert recipe.dataset.params["labels"] == {"class_1": 1} and recipe.dataset.params["ignore"] == [255]
    assert recipe.input.size == (64, 64) and recipe.input.slices == 1 and recipe.split.folds == 4
    text = (tmp_path / "recipe.toml").read_text()
    for table in ("dataset", "input", "normalization", "split", "model", "augmentation", "train"):
        before = text.split(f"\n[{table}]\n")[0].splitlines()[-1]
        assert before.startswith("#"), table
    assert len(drafted.asks) == 3  # patients, the value 255, the name of class 1


@pytest.mark.parametrize(
    ("options", "loss", "normalization", "slices"),
    [
        ({"values": (0, 255)}, "bce", "dtype", 1),
        ({"values": (0, 1, 2), "names": ("p1_1", "p1_2", "p2_1", "p2_2")}, "ce", "dtype", 3),
        ({"low": -1000, "dtype": np.int16}, "bce", "window", 1),
        ({"names": ("p1_1", "p1_2", "p2_1", "p2_2"), "low": -1000, "dtype": np.int16}, "bce", "window", 3),
    ],
)
def test_what_is_written_builds_and_trains_a_batch_without_an_edit(
    tmp_path, console, options, loss, normalization, slices
):
    recipe = init(pairs(tmp_path / "data", **options), tmp_path / "recipe.toml", console=console).recipe
    found = (recipe.loss[0].name, recipe.normalization.name, recipe.input.slices)
    assert found == (loss, normalization, slices)
    small = ("model.encoder=tu-test_resnet", "input.store=off", "train.activation_checkpointing=off")
    quick = load_recipe(tmp_path / "recipe.toml", registries=console.plugins.registries, overrides=small)
    assert any("one batch of" in line for line in smoke_test(console.experiment(quick)))


@pytest.mark.slow
def test_crops_of_color_images_build_and_train_a_batch(tmp_path, console):
    root = pairs(tmp_path / "data", size=320)
    for file in (root / "images").iterdir():
        cv2.imwrite(str(file), cv2.cvtColor(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), cv2.COLOR_GRAY2BGR))
    for file in (root / "masks").iterdir():
        mask = np.zeros((320, 320), dtype=np.uint8)
        mask[::40, ::40] = 1  # 64 single pixels: width 2
        cv2.imwrite(str(file), mask)
    recipe = init(root, tmp_path / "recipe.toml", console=console).recipe
    assert recipe.input.mode == "crop" and recipe.input.size == (128, 128)
    small = ("model.encoder=tu-test_resnet", "input.size=[32, 32]", "train.activation_checkpointing=off")
    quick = load_recipe(tmp_path / "recipe.toml", registries=console.plugins.registries, overrides=small)
    assert any("input [B, 3, 32, 32]" in line for line in smoke_test(console.experiment(quick)))


@pytest.mark.slow
def test_a_folder_of_the_competition_keeps_its_cases_and_its_score(tmp_path, console, registries):
    folder = write_phantom(tmp_path / "phantom", cases=2, days=1, slices=8, test_cases=1, seed=0)
    recipe = init(folder, tmp_path / "recipe.toml", console=console).recipe
    assert (recipe.dataset.name, recipe.split.folds, recipe.input.slices) == ("uwmgi", 2, 3)
    assert recipe.metric[-1].name == "uwmgi_score"


@pytest.mark.slow
def test_what_the_data_set_itself_leaves_out_or_misses_is_told(tmp_path, console):
    folder = write_phantom(tmp_path / "phantom", cases=7, days=1, slices=8, test_cases=0, seed=0)
    (scan,) = (folder / "train" / "case7").iterdir()
    scan.rename(scan.with_name("case7_day0"))
    table = (folder / "train.csv").read_text()
    table = table.replace(scan.name, "case7_day0").replace("case1_day0_slice_0001", "case1_day0_slice_0099")
    (folder / "train.csv").write_text(table)
    asks = init(folder, tmp_path / "recipe.toml", console=console).asks
    assert any(line.startswith("8 slices left out by the data set: ") for line in asks)
    assert any("case1_day0" in line and "no file" in line for line in asks)


def giseg(*words):
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 0


def test_the_command_tells_what_it_saw_asks_and_says_what_is_next(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GISEG_PLUGINS", "none")
    monkeypatch.chdir(tmp_path)
    pairs(tmp_path / "data")
    giseg("init", "data", "--device", "cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "data: 4 slices in 4 cases, uint8"
    area = sum((24 - 4 - number) * 20 for number in range(4)) / (4 * 64 * 64)
    assert lines[1] == f"  class_1: {area:.2%} of the pixels, in 100% of the slices"
    assert [line for line in lines if line.startswith("please check: ")] == [
        "please check: I cannot tell which images belong to one patient, so each image is a case of its own; if some "
        'belong together, set dataset.names, such as "{case}_{slice}"',
        "please check: I cannot tell what class_1 is; name the classes as you like in dataset.labels",
    ]
    assert lines[-1] == "next: giseg data recipe.toml; giseg run recipe.toml"
    giseg("check", "recipe.toml")
    assert "recipe.toml: no mistakes" in capsys.readouterr().out


def test_files_that_are_passed_over_are_told_once(tmp_path, console):
    root = pairs(tmp_path / "data")
    for name in ("notes.txt", "more.txt"):
        (root / "images" / name).write_text("")
    asks = init(root, tmp_path / "recipe.toml", console=console).asks
    (line,) = [line for line in asks if "passed over" in line]
    assert "2 passed over: more.txt, notes.txt" in line


def test_a_table_that_gives_the_split_draws_no_folds(tmp_path, console):
    files = {f"{case}_{at}": case for case in "pqrst" for at in range(2)}
    rows = ["image,mask,case,split"]
    for number, (name, case) in enumerate(files.items()):
        pixels = np.full((32, 32), 20 + number, np.uint8)
        pixels[4 : 20 + number, 6:18] = 200
        for folder, values in (("x", pixels), ("y", (pixels == 200).astype(np.uint8))):
            (tmp_path / "d" / folder).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / "d" / folder / f"{name}.png"), values)
        part = {"p": "train", "q": "train", "r": "validation"}.get(case, "test")
        rows.append(f"x/{name}.png,y/{name}.png,{case},{part}")
    (tmp_path / "d" / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    made = init(tmp_path / "d", tmp_path / "r.toml", console=console)
    text = made.path.read_text(encoding="utf-8")
    assert "4 slices train, 2 validate" in text and "on one side of the split" not in text
    assert "[split]\n\n" in text and "About 4 slices" in text


def test_a_recipe_that_is_there_is_replaced_only_by_force(tmp_path, console):
    root, out = pairs(tmp_path / "data"), tmp_path / "recipe.toml"
    out.write_text("mine")
    with pytest.raises(RunError, match="--force"):
        init(root, out, console=console)
    assert out.read_text() == "mine"
    init(root, out, console=console, force=True)
    assert out.read_text().startswith("# Written by giseg init")


def test_nothing_is_written_for_a_folder_that_cannot_be_trained_on(tmp_path, console):
    root, out = pairs(tmp_path / "data"), tmp_path / "recipe.toml"
    out.write_text("mine")
    (root / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match="have no mask") as caught:
        init(root, out, console=console, force=True)
    assert str(caught.value).startswith(f"draft of {out}:5: ")
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "recipe.toml"]


@pytest.mark.parametrize("spoil", ["image", "mask", "size"])
def test_a_file_that_cannot_be_read_or_has_another_size_is_named(tmp_path, console, spoil):
    root = pairs(tmp_path / "data")
    if spoil == "size":
        cv2.imwrite(str(root / "masks" / "b.png"), np.ones((32, 64), dtype=np.uint8))
    else:
        (root / f"{spoil}s" / "b.png").write_bytes((root / f"{spoil}s" / "b.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"b\.png"):
        init(root, tmp_path / "recipe.toml", console=console)
    assert not (tmp_path / "recipe.toml").exists()


@pytest.mark.parametrize("kind", ["image", "mask", "jpeg"])
def test_what_the_folder_asks_for_is_written_into_the_recipe(tmp_path, console, kind):
    root = pairs(tmp_path / "data", values=(0, 255))
    for name in "abcd":
        image, mask = root / "images" / f"{name}.png", root / "masks" / f"{name}.png"
        gray, shape = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE), cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        if kind == "image":
            cv2.imwrite(str(image), np.dstack([gray] * 3 + [np.where(np.arange(64) < 5, 0, 255) + 0 * gray]))
        elif kind == "mask":
            cv2.imwrite(str(mask), np.dstack([shape * 0] * 3 + [shape]))
        else:
            mask.write_bytes(cv2.imencode(".jpg", shape)[1].tobytes())
    drafted = init(root, tmp_path / "recipe.toml", console=console)
    said = {
        "image": ({"alpha": "drop", "labels": {"class_255": 255}}, "4 images are partly transparent"),
        "mask": ({"mask_from": "alpha", "labels": {"class_255": 255}}, "I take their shapes from the alpha channel"),
        "jpeg": ({"classes": ["masks"], "masks": ".", "threshold": 128}, "I take values of 128 or more for one class"),
    }[kind]
    assert drafted.recipe.dataset.params.items() >= said[0].items()
    assert any(said[1] in ask for ask in drafted.asks)
    dataset = console.experiment(drafted.recipe).dataset
    assert [dataset.mask(row).sum() for row in range(4)] == [20 * (20 - row) for row in range(4)]


def test_mixed_sizes_are_padded_to_the_median(tmp_path, console):
    root = pairs(tmp_path / "data")
    pairs(root, names=("e",), size=96)
    cv2.imwrite(str(root / "images" / "f.png"), np.zeros((64, 160), dtype=np.uint8))
    cv2.imwrite(str(root / "masks" / "f.png"), np.ones((64, 160), dtype=np.uint8))
    recipe = init(root, tmp_path / "recipe.toml", console=console).recipe
    assert recipe.input.resize == "fit" and recipe.input.size == (64, 64)


def test_a_class_that_covers_most_of_the_images_is_doubted(tmp_path, console):
    root = pairs(tmp_path / "data", values=(255, 0))
    drafted = init(root, tmp_path / "recipe.toml", console=console)
    assert any(line.startswith("class_255 covers ") for line in drafted.asks)


def test_a_folder_for_each_image_is_refused_and_trains_once_the_script_of_the_page_has_merged_it(tmp_path, console):
    page = (Path(__file__).parents[2] / "docs" / "init.md").read_text()
    script = re.search(r"<!-- file: merge.py -->\n```python\n(.*?)```", page, re.DOTALL)
    for name in ("x", "y", "z"):
        for part in ("images", "masks"):
            (tmp_path / "bowl" / name / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "bowl" / name / "images" / f"{name}.png"), np.full((64, 64, 3), 200, dtype=np.uint8))
        for number in range(2):
            mask = np.zeros((64, 64), dtype=np.uint8)
            mask[8:24, 8 + 24 * number : 24 + 24 * number] = 255
            cv2.imwrite(str(tmp_path / "bowl" / name / "masks" / f"{number}.png"), mask)
    with pytest.raises(DataError, match=r"a folder for each image \(x, y, z\)"):
        init(tmp_path / "bowl", tmp_path / "recipe.toml", console=console)
    names = {}
    exec(script[1], names)
    names["merge"](tmp_path / "bowl", tmp_path / "merged")
    drafted = init(tmp_path / "merged", tmp_path / "recipe.toml", console=console)
    assert drafted.facts.shares == {"class_1": 2 * 16 * 16 / 64**2} and drafted.facts.channels == 3


def squares(*, color=(1,), count=4):
    """Pairs of an image and a mask with a square of a value or color."""
    for number in range(count):
        image = np.random.default_rng(number).integers(0, 200, (64, 64)).astype(np.uint8)
        mask = np.zeros((64, 64, len(color)), dtype=np.uint8)
        mask[8 : 24 + number, 8:24] = color
        yield image, mask[..., 0] if len(color) == 1 else mask


def saved(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def beside(root):
    for number, (image, mask) in enumerate(squares()):
        saved(root / f"im{number}.png", image), saved(root / f"im{number}_mask.png", mask)


def of_nnunet(root):
    for number, (image, mask) in enumerate(squares()):
        saved(root / "imagesTr" / f"im{number}_0000.png", image), saved(root / "labelsTr" / f"im{number}.png", mask)
    saved(root / "imagesTs" / "new_0000.png", image)
    (root / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1}}')


def in_cases(root):
    for number, (image, mask) in enumerate(squares()):
        for part, pixels in (("images", image), ("masks", mask)):
            saved(root / part / f"p{number % 2}" / f"{number}.png", pixels)


def by_table(root):
    rows = ["image,mask,case"]
    for number, (image, mask) in enumerate(squares()):
        saved(root / "a" / f"{number}.png", image), saved(root / "b" / f"m{number}.png", mask)
        rows.append(f"a/{number}.png,b/m{number}.png,p{number % 2}")
    (root / "pairs.csv").write_text("\n".join(rows))


def in_color(root):
    for number, (image, mask) in enumerate(squares(color=(0, 0, 255))):  # red, as OpenCV writes it
        saved(root / "images" / f"im{number}.png", image), saved(root / "masks" / f"im{number}.png", mask)


def by_class(root):
    for number, (image, mask) in enumerate(squares()):
        saved(root / "images" / f"im{number}.png", image)
        for name in ("liver", "spleen")[: 1 + number % 2]:
            saved(root / "masks" / name / f"im{number}.png", mask)


def in_pages(root):
    (root / "images").mkdir(parents=True), (root / "masks").mkdir()
    for number in range(2):
        images, masks = zip(*squares(), strict=True)
        tifffile.imwrite(root / "images" / f"{number}.tif", np.stack(images), photometric="minisblack")
        tifffile.imwrite(root / "masks" / f"{number}.tif", np.stack(masks), photometric="minisblack")


@pytest.mark.parametrize(
    ("make", "classes", "slices", "cases", "channels"),
    [
        (beside, ("class_1",), 4, 4, 1),
        (of_nnunet, ("liver",), 5, 4, 1),
        (in_cases, ("class_1",), 4, 2, 3),
        (by_table, ("class_1",), 4, 2, 3),
        (in_color, ("class_ff0000",), 4, 4, 1),
        (by_class, ("liver", "spleen"), 4, 4, 1),
        (in_pages, ("class_1",), 8, 2, 3),
    ],
)
def test_every_layout_gives_a_recipe_whose_slices_are_as_they_were_written(
    tmp_path, console, make, classes, slices, cases, channels
):
    make(tmp_path / "data")
    drafted = init(tmp_path / "data", tmp_path / "recipe.toml", console=console)
    experiment = console.experiment(drafted.recipe)
    assert (experiment.classes, experiment.channels) == (classes, channels)
    assert (drafted.facts.slices, drafted.facts.cases) == (slices, cases)
    squared = {16 * (16 + number) for number in range(4)}
    labelled = np.flatnonzero(experiment.dataset.table["labelled"])
    assert {int(experiment.dataset.mask(int(row))[:, :, 0].sum()) for row in labelled} == squared


def test_a_damaged_file_is_refused_although_it_is_not_among_those_that_are_looked_at(tmp_path, console):
    by_class(tmp_path / "data")
    file = tmp_path / "data" / "images" / "im2.png"
    file.write_bytes(file.read_bytes()[:80])
    with pytest.raises(DataError, match=r"im2\.png"):
        init(tmp_path / "data", tmp_path / "recipe.toml", console=console)
