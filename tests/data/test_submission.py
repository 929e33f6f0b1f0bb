"""gisegkit.data.submission: writing whole or not at all, reading strictly."""

from __future__ import annotations

import pytest

from gisegkit.data.output import Output
from gisegkit.data.submission import SubmissionLines, read_submission
from gisegkit.errors import RunError, SubmissionError

ROWS = [
    ("a_slice_1", "liver", "1 3 7 2"),
    ("a_slice_1", "spleen", ""),
    ("a_slice_2", "liver", ""),
    ("a_slice_2", "spleen", "12 1"),
]
SIZES = {"a_slice_1": (3, 4), "a_slice_2": (3, 4)}
CLASSES = ("liver", "spleen")


def write_submission(path, rows, *, order=None):
    """As the writer ``submission`` does it: the file appears whole or not at all."""
    with Output(path.parent) as out, out.path(path.name) as partial, partial.open("w", newline="") as file:
        lines = SubmissionLines(file, str(path), order=order)
        for row in rows:
            lines.add(*row)
        lines.finish()


def write(path, *lines, header="id,class,predicted"):
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def refusal(path, **known):
    with pytest.raises(SubmissionError) as caught:
        read_submission(path, **known)
    return str(caught.value)


# --- write ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "submission.csv"
    write_submission(path, iter(ROWS))
    assert path.read_text() == (
        "id,class,predicted\na_slice_1,liver,1 3 7 2\na_slice_1,spleen,\na_slice_2,liver,\na_slice_2,spleen,12 1\n"
    )
    table = read_submission(path, sizes=SIZES, classes=CLASSES)
    assert list(table.drop(columns="line").itertuples(index=False, name=None)) == ROWS
    assert table["line"].tolist() == [2, 3, 4, 5]
    assert [file.name for file in path.parent.iterdir()] == ["submission.csv"]


def test_names_with_commas_and_quotes(tmp_path):
    rows = [('scan, "left"', "liver", "1 1")]
    write_submission(tmp_path / "s.csv", rows)
    table = read_submission(tmp_path / "s.csv")
    assert table[["id", "class", "predicted"]].to_numpy().tolist() == [list(rows[0])]


def test_order_is_that_of_the_sample(tmp_path):
    order = [(slice_id, label) for slice_id, label, _ in reversed(ROWS)]
    write_submission(tmp_path / "s.csv", ROWS, order=order)
    table = read_submission(tmp_path / "s.csv")
    assert list(zip(table["id"], table["class"], strict=True)) == order
    assert table["predicted"].tolist() == [runs for _, _, runs in reversed(ROWS)]


def test_rows_that_the_sample_does_not_name_follow(tmp_path):
    write_submission(tmp_path / "s.csv", ROWS, order=[("a_slice_2", "spleen")])
    assert read_submission(tmp_path / "s.csv")["predicted"].tolist() == ["12 1", "1 3 7 2", "", ""]
    write_submission(tmp_path / "t.csv", ROWS, order=[("other", "liver")])  # another part of the data
    assert read_submission(tmp_path / "t.csv")["predicted"].tolist() == ["1 3 7 2", "", "", "12 1"]


def test_a_row_of_the_sample_that_is_missing(tmp_path):
    with pytest.raises(SubmissionError, match="no row for a_slice_3, liver"):
        write_submission(tmp_path / "s.csv", ROWS, order=[("a_slice_1", "liver"), ("a_slice_3", "liver")])
    assert list(tmp_path.iterdir()) == []


def test_a_second_row_is_refused(tmp_path):
    with pytest.raises(SubmissionError, match="a second row for a_slice_1, liver"):
        write_submission(tmp_path / "s.csv", [*ROWS, ROWS[0]])
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_what_stood_there(tmp_path):
    path = tmp_path / "s.csv"
    write_submission(path, ROWS[:1])
    before = path.read_text()

    def rows():
        yield ROWS[1]
        raise RuntimeError("the network failed")

    with pytest.raises(RuntimeError, match="the network failed"):
        write_submission(path, rows())
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot be written"):
        write_submission(tmp_path / "file" / "s.csv", ROWS)


# --- read -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a_slice_1,liver,1 2 3", "3 values"),
        ("a_slice_1,liver,1 x", "'x' is not a whole number"),
        ("a_slice_1,liver,1.0 2", "'1.0' is not a whole number"),
        ("a_slice_1,liver,nan", "'nan' is not a whole number"),
        ("a_slice_1,liver,5 2 1 2", "sorted"),
        ("a_slice_1,liver,1 3 3 2", "overlaps"),
        ("a_slice_1,liver,0 2", "first pixel"),
        ("a_slice_1,liver,4 0", "length below 1"),
        ("a_slice_1,liver,12 2", "ends at pixel 13, but 3 rows of 4 columns have 12"),
        ("a_slice_3,liver,1 2", "the truth has no slice 'a_slice_3'"),
        ("a_slice_1,livver,1 2", "the truth has no class 'livver'; did you mean 'liver'?"),
        ("a_slice_1,kidney,1 2", "the truth has no class 'kidney'; it has liver, spleen"),
        (",liver,1 2", "no id"),
        ("a_slice_1,,1 2", "no class"),
        ("", "no id"),
        ("a_slice_2,liver,1 2", "a second row for a_slice_2, liver; the first is line 2"),
    ],
)
def test_bad_rows_are_named_with_line_and_reason(tmp_path, row, reason):
    path = write(tmp_path / "mine.csv", "a_slice_2,liver,3 1", row, "a_slice_2,spleen,")
    message = refusal(path, sizes=SIZES, classes=CLASSES)
    assert message.startswith(f"{path}: 1 problem\n  line 3: ")
    assert reason in message


def test_a_run_may_end_with_the_slice(tmp_path):
    path = write(tmp_path / "s.csv", "a_slice_1,liver,1 12", "a_slice_2,liver,12 1")
    assert len(read_submission(path, sizes=SIZES, classes=CLASSES)) == 2


def test_unknown_sizes_leave_the_end_unchecked(tmp_path):
    path = write(tmp_path / "s.csv", "a_slice_1,liver,1 9999")
    assert len(read_submission(path, sizes={"a_slice_1": None}, classes=CLASSES)) == 1
    assert len(read_submission(path)) == 1


def test_all_problems_come_in_one_report(tmp_path):
    path = write(tmp_path / "s.csv", "a_slice_1,liver,1", "a_slice_9,livver,2 2 1 1", "a_slice_1,liver,")
    message = refusal(path, sizes=SIZES, classes=CLASSES)
    assert message.splitlines()[0] == f"{path}: 5 problems"
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == ["line 2"] + ["line 3"] * 3 + ["line 4"]


def test_a_long_report_is_cut_and_counts_the_rest(tmp_path):
    path = write(tmp_path / "s.csv", *(f"a_slice_{n},liver,1" for n in range(50)))
    lines = refusal(path).splitlines()
    assert lines[0].endswith("50 problems")
    assert len(lines) == 22
    assert lines[-1] == "  and 30 more"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("id,class,prediction", "no column 'predicted'; found 'id', 'class', 'prediction'; did you mean 'prediction'?"),
        ("id,class,segmentation", "no column 'predicted'"),
        ("ID;class;predicted", "its columns are separated by semicolons (';'), not by commas"),
        ("id\tclass\tpredicted", "its columns are separated by tabs"),
        (",id,class,predicted", "index=False"),
    ],
)
def test_wrong_columns(tmp_path, header, reason):
    message = refusal(write(tmp_path / "s.csv", header=header))
    assert "line 1: " in message
    assert reason in message


def test_columns_in_another_order_and_a_byte_order_mark(tmp_path):
    (tmp_path / "s.csv").write_text("\ufeffpredicted,id,class\r\n1 2,a,liver\r\n", encoding="utf-8")
    assert read_submission(tmp_path / "s.csv")[["id", "class", "predicted"]].to_numpy().tolist() == [
        ["a", "liver", "1 2"]
    ]


def test_no_file_and_no_table(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "must be id,class,predicted" in refusal(tmp_path / "empty.csv")
    assert "line 2 has 4 fields, and the first line has 3 columns" in refusal(
        write(tmp_path / "wide.csv", "a,liver,1 2,5")
    )
    assert "line 3" in refusal(write(tmp_path / "late.csv", "a,liver,1 2", "b,liver,1 2,5"))
    (tmp_path / "bytes.csv").write_bytes(b"\x89PNG\xff\xfe\x00")
    assert "no table" in refusal(tmp_path / "bytes.csv")
    assert "cannot be read" in refusal(tmp_path)


def test_a_header_alone_is_an_empty_submission(tmp_path):
    assert read_submission(write(tmp_path / "s.csv")).empty


def test_an_unknown_slice_or_class_is_one_problem_however_many_rows_name_it(tmp_path):
    rows = [f"{name},{label}," for name in ("a_slice_1", "x", "y") for label in ("liver", "spleen")]
    message = refusal(write(tmp_path / "s.csv", *rows), sizes=SIZES, classes=CLASSES)
    assert message.splitlines()[1:] == [
        "  line 4: the truth has no slice 'x' (and 1 more row)",
        "  line 6: the truth has no slice 'y' (and 1 more row)",
    ]
    rows = [f"{name},lung," for name in ("a_slice_1", "a_slice_2")]
    message = refusal(write(tmp_path / "s.csv", *rows), sizes=SIZES, classes=CLASSES)
    assert message.splitlines()[1:] == [
        "  line 2: the truth has no class 'lung'; it has liver, spleen (and 1 more row)"
    ]


@pytest.mark.parametrize("count", [1, 48])
def test_a_truth_of_other_slices_altogether_is_one_line(tmp_path, count):
    rows = [f"z_{number},{label}," for number in range(count) for label in ("liver", "spleen")]
    message = refusal(write(tmp_path / "s.csv", *rows), sizes=SIZES, classes=CLASSES, truth="truth.csv")
    assert "\n" not in message
    assert ("none of its 48 slices is" if count > 1 else "its only slice is not") in message
    assert "in truth.csv, whose first slice is 'a_slice_1' (the submission's first is 'z_0')" in message


@pytest.mark.parametrize("name", ["line", "index", "level_0", "size", "name"])
def test_a_column_of_any_name_is_refused_in_words(tmp_path, name):
    path = write(tmp_path / "s.csv", "7,a,liver,1 2", header=f"{name},id,class,predicted")
    assert f"found also {name!r}" in refusal(path)
