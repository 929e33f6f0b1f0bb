"""Write docs/components.md from the registered built-in components; a test compares the two."""

from __future__ import annotations

from pathlib import Path

from gisegkit.plugins import load_plugins
from gisegkit.registry.annotations import show
from gisegkit.registry.kinds import KINDS, Component
from gisegkit.registry.signatures import REQUIRED, Parameter

TARGET = Path(__file__).with_name("components.md")


def page() -> str:
    """The page as Markdown."""
    registries = load_plugins(selection="none").registries
    made = "Made by `python docs/make_components.py` from the components' own signatures and docstrings."
    lines = ["# Components", "", made, ""]
    for kind in KINDS.values():
        lines += [f"## {kind.table}", "", f"A {kind.name.replace('_', ' ')} is {kind.summary}.", ""]
        for name in registries[kind.name]:
            lines += component(registries[kind.name].get(name))
    return "\n".join(lines).rstrip() + "\n"


def component(item: Component) -> list[str]:
    """The section of one component."""
    signature = item.signature()
    given = KINDS[item.kind].given
    lines = [f"### {item.name}", "", signature.summary, ""]
    if signature.paper:
        lines += [f"Paper: {signature.paper}", ""]
    rows = [row(parameter) for parameter in signature.parameters.values() if parameter.name not in given]
    return [*lines, "| parameter | default | valid | what |", "|---|---|---|---|", *rows, ""] if rows else lines


def row(parameter: Parameter) -> str:
    """A parameter as a row of the table."""
    if parameter.default is REQUIRED:
        default = "(needed)"
    else:
        default = "(not set)" if parameter.default is None else f"`{show(parameter.default)}`"
    cells = (f"`{parameter.name}`", default, parameter.type.text, parameter.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
