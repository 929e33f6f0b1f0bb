"""What prepared slices are made of: what changes with a file or with the code, and what does not."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gisegkit.components.datasets.folder import Folder
from gisegkit.components.datasets.phantom import Phantom
from gisegkit.components.datasets.uwmgi import UWMGI
from gisegkit.data.store import sources
from gisegkit.data.store.sources import READERS, Sources, code_of, digest, meaning, stamp, stamped
from gisegkit.errors import DataError


def test_a_text_has_a_digest_of_its_own():
    assert digest("a") == digest("a") == digest(b"a") != digest("b")
    assert re.fullmatch("[0-9a-f]{24}", digest("a"))


def test_a_touched_file_has_another_stamp_and_the_same_digest(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"abc")
    before, content = stamp(str(file)), stamped(str(file))
    assert before[0] == 3 and content == [*before, digest(b"abc")]
    os.utime(file, (1, 1))
    assert stamp(str(file)) != before and stamped(str(file))[3] == content[3]
    file.write_bytes(b"abd")
    assert stamped(str(file))[3] != content[3]


def test_a_file_that_is_not_there(tmp_path):
    assert stamp(str(tmp_path / "none")) == []
    assert stamped(str(tmp_path / "none")) == [0, 0, 0, ""]


def test_a_source_is_a_file_that_can_be_read(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"is a folder; sources\(row\) of a dataset must name the files"):
        stamped(str(tmp_path))

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").touch()
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(DataError, match=r"a\.png: cannot be read \(Permission denied\)"):
        stamped(str(tmp_path / "a.png"))


def test_a_file_that_is_written_while_it_is_read_is_looked_at_again(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    file.write_bytes(b"abc")

    def read(path):
        with path.open("rb") as opened:
            content = opened.read()
        path.write_bytes(b"changed")
        return content

    monkeypatch.setattr(Path, "read_bytes", read)
    found = stamped(str(file))
    assert found[3] == digest(b"abc") and found[:3] != stamp(str(file))


@pytest.mark.parametrize("root", ["data", "./data/", "data/../data", "{tmp}/data", "{tmp}/link", "link"])
def test_files_are_named_by_their_place_in_the_root(tmp_path, monkeypatch, root):
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    root = root.format(tmp=tmp_path)
    files = [f"{root}/a/b.png", Path(root) / "a" / "b.png", tmp_path / "data" / "a" / "b.png", "data2/b.png"]
    found = Sources(SimpleNamespace(root=root, sources=lambda row: (files, "runs")))
    assert found.root == str(tmp_path / "data")
    assert found.of(0) == (["a/b.png"] * 3 + [str(tmp_path / "data2" / "b.png")], "runs")


# --- code ---


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A plugin's package: a dataset that reads through two other modules, and a loss; writes files, gives the class."""
    folder = tmp_path / "readers_of_a_plugin"
    files = {
        "__init__.py": "",
        "dataset.py": "from .reading import read\nclass Reader: image = read\n",
        "reading.py": "def read(row):\n    from readers_of_a_plugin import values\n    return values.VALUE\n",
        "values.py": "VALUE = 1\n",
        "losses.py": "WEIGHT = 1\n",
    }
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def write(**changed):
        for name, text in (files | {f"{name}.py": text for name, text in changed.items()}).items():
            (folder / name).write_text(text, encoding="utf-8")
        return __import__(f"{folder.name}.dataset").dataset.Reader

    yield write
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def test_the_code_of_a_reader_is_part_of_the_key(tmp_path, make_module):
    name = make_module("class Reader: ...\n")
    kind = __import__(name).Reader
    before = code_of.__wrapped__(kind)
    assert before == code_of.__wrapped__(kind)
    (tmp_path / "modules" / f"{name}.py").write_text("class Reader: pass\n")
    assert code_of.__wrapped__(kind) != before


@pytest.mark.parametrize("module", ["reading", "values"])
def test_so_is_what_it_imports_from_its_package(package, module):
    before = code_of.__wrapped__(package())
    assert code_of.__wrapped__(package()) == before
    assert code_of.__wrapped__(package(**{module: "VALUE, read = 2, None\n"})) != before


def test_what_it_does_not_import_is_not_loaded_or_not(package):
    kind = package()
    before = code_of.__wrapped__(kind)
    __import__("readers_of_a_plugin.losses")
    assert code_of.__wrapped__(package(losses="WEIGHT = 2\n")) == before == code_of.__wrapped__(kind)


def test_a_compiled_reader_and_one_without_a_file(tmp_path, monkeypatch):
    code = tmp_path / "compiled.so"
    code.write_bytes(b"\x7fELF\0\xff\xfe")
    monkeypatch.setitem(sys.modules, "compiled_reader", type(sys)("compiled_reader"))
    kind = type("Reader", (), {"__module__": "compiled_reader"})
    nowhere = code_of.__wrapped__(kind)
    sys.modules["compiled_reader"].__file__ = str(code)
    before = code_of.__wrapped__(kind)
    code.write_bytes(b"\x7fELF\0\xff\xfd")
    assert len({nowhere, before, code_of.__wrapped__(kind)}) == 3
    sys.modules["compiled_reader"].__file__ = "<stdin>"
    assert code_of.__wrapped__(kind) == nowhere
    del sys.modules["compiled_reader"]
    assert code_of.__wrapped__(kind) == nowhere


CODE = """'What it reads.'
VALUE = 1
'What VALUE is.'


class Reader:
    'A reader.'

    def image(self, row):
        'Reads a row.'
        return VALUE  # of all rows
"""
EDITS = {
    "module's docstring": ("What it reads", "What is read"),
    "attribute's docstring": ("What VALUE is", "Which VALUE"),
    "class's docstring": ("A reader", "One that reads"),
    "function's docstring": ("Reads a row", "Reads"),
    "comment": ("of all rows", "of every row"),
    "formatting": ("VALUE = 1", "VALUE   =   (1)"),
    "blank lines": ("\n\n\n", "\n"),
    "line ends": ("\n", "\r\n"),
}


@pytest.fixture(params=EDITS)
def edited(request):
    """A plugin's module in other words: the same code."""
    text = CODE.replace(*EDITS[request.param])
    assert text != CODE
    return text


@pytest.mark.parametrize("module", ["dataset", "reading"])
@pytest.mark.slow
def test_other_words_in_a_plugin_make_nothing_stale(package, edited, module):
    own = "\nfrom . import reading\n"
    before = code_of.__wrapped__(package(dataset=CODE + own, reading=CODE))
    files = {"dataset": CODE + own, "reading": CODE} | {module: edited + own * (module == "dataset")}
    assert code_of.__wrapped__(package(**files)) == before
    files[module] = files[module].replace("return VALUE", "return VALUE + 1")
    assert code_of.__wrapped__(package(**files)) != before


@pytest.mark.parametrize("text", ["__doc__", "inspect.getdoc(Reader)"])
def test_where_code_reads_docstrings_they_are_code(text):
    code = f"{CODE}\nprint({text})\n".encode()
    assert meaning(code) == code


@pytest.mark.parametrize(
    "code", [b"\x7fELF\0\xff\xfe", b"VALUE = \n", b"\xff = 1", b"VALUE = " + b"-" * 100_000 + b"1"]
)
def test_what_is_no_source_stands_for_itself(code):
    assert meaning(code) == code


def test_a_text_that_is_not_unicode_has_a_meaning():
    assert meaning(b"VALUE = '\\udc80'  # a") == meaning(b"VALUE = '\\udc80'") != meaning(b"VALUE = '\\udc81'")


@pytest.mark.parametrize("module", [*(f"gisegkit.data.{name}" for name in READERS), UWMGI.__module__])
@pytest.mark.slow
def test_new_code_of_gisegkits_readers_makes_stale_and_other_words_do_not(tmp_path, monkeypatch, module):
    before, original = code_of.__wrapped__(UWMGI), sources._file
    copy = tmp_path / "copy.py"
    monkeypatch.setattr(sources, "_file", lambda name: str(copy) if name == module else original(name))
    source = Path(original(module)).read_text(encoding="utf-8")
    assert source.startswith('"""')
    copy.write_text("# a comment\n\n" + source.replace('"""', '"""Other words. ', 1), encoding="utf-8")
    assert code_of.__wrapped__(UWMGI) == before
    copy.write_text(f"{source}\nNEW = 1\n", encoding="utf-8")
    assert code_of.__wrapped__(UWMGI) != before


DECIDE_NOTHING = {
    "gisegkit.data.case_names": "a doubt about names",
    "gisegkit.data.doctor.look": "which slices cannot be read; those are not stored",
    "gisegkit.data.findings": "how what was found is told",
    "gisegkit.data.looked_at": "what is remembered of files, not what is in them",
    "gisegkit.data.tables": "the runs and files of the rows; both are in the key",
    "gisegkit.data.names": "which ids, cases and positions the rows have; the ids are in the key",
    "gisegkit.data.phantom.lesions": "the name of a class; draws files, which are known by their content",
    "gisegkit.data.phantom.writer": "writes files, which are known by their content",
    "gisegkit.data.spacing": "distances between pixels in mm, which no pixel depends on",
    "gisegkit.data.store.disk_space": "whether there is room",
}


def test_every_module_of_data_that_the_readers_import_is_a_reader_or_decides_nothing():
    """So that one that moves, or a new one, is thought about."""
    kinds = (UWMGI, Folder, Phantom)
    modules = {f"gisegkit.data.{name}" for name in READERS} | {kind.__module__ for kind in kinds}
    imported = {name for module in modules for name in imports(module)}
    assert {name for name in imported if find(name)} <= modules | set(DECIDE_NOTHING)
    assert set(DECIDE_NOTHING) <= imported and all(map(find, modules))


def imports(module):
    """The modules of gisegkit.data that one imports when it runs: not those that it names in annotations alone."""
    tree = ast.parse(Path(sources._file(module)).read_bytes())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found = [other for other in found if other not in node.body]
    names = {f"{node.module}{end}" for node in found for end in ("", *(f".{alias.name}" for alias in node.names))}
    return {name for name in names if name.startswith("gisegkit.data.")}


def find(module):
    with contextlib.suppress(ModuleNotFoundError):  # a name in a module
        return importlib.util.find_spec(module) is not None
    return False
