"""``giseg list-components`` and ``giseg describe``: what recipes can name, read from source without importing it."""

from __future__ import annotations

import json
from typing import Any

import click

from gisegkit.cli.output import say, table
from gisegkit.errors import ComponentError, count
from gisegkit.plugins import Plugins
from gisegkit.registry.annotations import show
from gisegkit.registry.kinds import KINDS, Component
from gisegkit.registry.signatures import REQUIRED, Parameter


@click.command("list-components")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_components(plugins: Plugins, kind: str | None, as_json: bool) -> None:
    """List components: kind, name, owner, summary."""
    _print_list(plugins, kind, as_json=as_json)


def _print_list(plugins: Plugins, kind: str | None, *, as_json: bool) -> None:
    if kind is None:
        components = list(plugins.registries)
    else:
        registry = plugins.registries[kind]
        components = [registry.get(name) for name in registry]
    rows = [(item.kind, item.name, str(item.owner), _summary(item)) for item in components]
    if as_json:
        keys = ("kind", "name", "distribution", "version", "summary")
        entries = [
            dict(zip(keys, (item.kind, item.name, item.owner.distribution, item.owner.version, row[3]), strict=True))
            for item, row in zip(components, rows, strict=True)
        ]
        say(json.dumps(entries, indent=2))
        return
    table(("kind", "name", "owner", "summary"), rows)
    what = "KIND" if kind is None else kind
    say(f"{count(len(rows), 'component')}; giseg describe {what} NAME tells more")


@click.command("describe")
@click.argument("kind")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def describe(plugins: Plugins, kind: str, name: str | None, as_json: bool) -> None:
    """Show a component's parameters, types, defaults, help and paper; without NAME, the components of KIND."""
    if name is None:
        _print_list(plugins, kind, as_json=as_json)
        return
    component = plugins.registries[kind].get(name)
    signature = component.signature()
    given = KINDS[kind].given
    parameters = [item for item in signature.parameters.values() if item.name not in given]
    if as_json:
        say(json.dumps(_as_dict(component, parameters), indent=2))
        return
    say(f"{kind} {name}  ({component.owner}, {signature.file}:{signature.line})")
    say(signature.summary)
    if signature.paper:
        say(f"paper: {signature.paper}")
    say(f"in a {KINDS[kind].home}{' file' if KINDS[kind].home == 'plan' else ''}:")
    say(f"    {KINDS[kind].table}")
    say(f'    name = "{name}"')
    for parameter in parameters:
        say(f"    {parameter.name} = {_default(parameter)}")
        say(f"        {_sentences(parameter.help, parameter.type.text)}")
    for name_of_key, item in KINDS[kind].keys.items():
        default = "(not set)" if item.default is None else show(item.default)
        say(f"    {name_of_key} = {default}\n        {_sentences(item.help, item.type.text)}")
    for key in signature.parameters:
        if key in given:
            say(f"{key} is settled by {given[key]}")


def _sentences(*texts: str) -> str:
    """The texts as sentences, without the marks that docstrings use for code."""
    plain = [text.replace("``", "").strip().rstrip(".") for text in texts if text]
    return " ".join(text[:1].upper() + text[1:] + "." for text in plain)


def _summary(component: Component) -> str:
    try:
        return component.signature().summary
    except ComponentError as error:
        return f"(cannot be read: {error})"


def _default(parameter: Parameter) -> str:
    if parameter.default is None:
        return "(not set)"
    return "(required)" if parameter.default is REQUIRED else show(parameter.default)


def _as_dict(component: Component, parameters: list[Parameter]) -> dict[str, Any]:
    signature = component.signature()
    return {
        "kind": component.kind,
        "name": component.name,
        "distribution": component.owner.distribution,
        "version": component.owner.version,
        "summary": signature.summary,
        "paper": signature.paper,
        "file": signature.file,
        "line": signature.line,
        "parameters": [
            {
                "name": item.name,
                "type": item.annotation,
                "valid": item.type.text,
                "required": item.required,
                "default": None if item.required else _plain(item.default),
                "help": item.help,
            }
            for item in parameters
        ],
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | list | dict) or value is None else repr(value)
