"""Write docs/components.md from the kinds and the registered built-in components; a test compares the two."""

from __future__ import annotations

from pathlib import Path

from gisegkit.plugins import load_plugins
from gisegkit.registry.annotations import show
from gisegkit.registry.kind import Key, Kind
from gisegkit.registry.kinds import KINDS, Component, Registries
from gisegkit.registry.signatures import REQUIRED, Parameter

TARGET = Path(__file__).with_name("components.md")
HEADER = ("| parameter | default | valid | what |", "|---|---|---|---|")


def page(registries: Registries | None = None) -> str:
    """The page as Markdown.

    Args:
        registries: the components; by default the built-in ones.
    """
    registries = registries or load_plugins(selection="none").registries
    made = "Made by `python docs/make_components.py` from the components' own signatures and docstrings."
    lines = ["# Components", "", made, ""]
    for kind in KINDS.values():
        lines += [f"## {kind.table}", "", *about(kind), ""]
        for name in registries[kind.name]:
            lines += component(registries[kind.name].get(name))
    return "\n".join(lines).rstrip() + "\n"


def about(kind: Kind) -> list[str]:
    """What holds for every component of a kind."""
    article = "An" if kind.name[0] in "aeiou" else "A"
    lines = [f"{article} {kind.name.replace('_', ' ')} is {kind.summary}."]
    named = ", ".join(f"`{name}`" for name in kind.default)
    if kind.home == "plan":
        lines.append("A plan file names it, not a recipe.")
    elif kind.needed:
        lines.append("Every recipe needs one.")
    else:
        lines.append(f"The default is {named}." if named else "A recipe need not name one.")
    lines.append(f"A plugin registers one with `add.{kind.name}`, and tests it with `{kind.check.replace(':', '.')}`.")
    rows = [key_row(name, key) for name, key in kind.keys.items()]
    return (
        [*lines, "", f"Every {kind.name.replace('_', ' ')} has these keys besides its own:", "", *HEADER, *rows]
        if rows
        else lines
    )


def component(item: Component) -> list[str]:
    """The section of one component."""
    signature = item.signature()
    given = KINDS[item.kind].given
    lines = [f"### {item.name}", "", signature.summary, ""]
    if signature.paper:
        lines += [f"Paper: {signature.paper}", ""]
    rows = [row(parameter) for parameter in signature.parameters.values() if parameter.name not in given]
    return [*lines, *HEADER, *rows, ""] if rows else lines


def row(parameter: Parameter) -> str:
    """A parameter as a row of the table."""
    if parameter.default is REQUIRED:
        default = "(needed)"
    else:
        default = "(not set)" if parameter.default is None else f"`{show(parameter.default)}`"
    return cells(f"`{parameter.name}`", default, parameter.type.text, parameter.help)


def key_row(name: str, key: Key) -> str:
    """A key of a kind as a row of the table."""
    return cells(f"`{name}`", "(not set)" if key.default is None else f"`{show(key.default)}`", key.type.text, key.help)


def cells(*texts: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
