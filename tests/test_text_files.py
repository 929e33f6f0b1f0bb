"""Text is read and written as UTF-8, whatever the system's own encoding is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gisegkit"
OF_BYTES = (("os", "open"), ("archive", "open"), ("_zip", "open"))  # a zip archive's members
OPENERS = ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile")


def without_encoding(source: str) -> list[int]:
    """Lines of calls that read or write text in an encoding that the system chooses."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(keyword.arg in ("encoding", None) for keyword in node.keywords):
            continue
        method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if method else getattr(node.func, "id", "")
        value = node.func.value if method else None
        owner = getattr(value, "id", getattr(value, "attr", ""))
        if method and name in ("read_text", "write_text"):
            lines.append(node.lineno)
        elif name in OPENERS and not owner[:1].isupper() and (owner, name) not in OF_BYTES:  # RunDir.open
            modes = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
            texts = [str(mode.value) for mode in modes if isinstance(mode, ast.Constant)]
            binary = any("b" in text and len(text) <= 3 for text in texts)
            lines += [] if binary or (name.endswith("File") and not texts) else [node.lineno]
    return lines


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", True),
        ("Path(x).write_text(text)", True),
        ('path.read_text(encoding="utf-8")', False),
        ('path.open("w")', True),
        ("open(path)", True),
        ('open(path, "rb")', False),
        ('os.fdopen(handle, "w")', True),
        ('path.open(mode="wb")', False),
        ("RunDir.open(path)", False),
        ('self.archive.open(name, "w")', False),
        ('self._zip.open(f"{name}.npy")', False),
        ('self.path.open("w")', True),
        ("os.open(path, flags, 0o666)", False),
        ("write_text(path, text)", False),
    ],
)
def test_the_test_itself_sees_them(source, found):
    assert bool(without_encoding(source)) is found


@pytest.mark.slow
def test_every_text_file_is_read_and_written_as_utf_8():
    found = {str(file.relative_to(PACKAGE)): without_encoding(file.read_text()) for file in PACKAGE.rglob("*.py")}
    assert {file: lines for file, lines in found.items() if lines} == {}
