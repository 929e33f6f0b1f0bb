"""A recipe's file and its overrides become a Recipe, with every mistake in one report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gisegkit.errors import Mistake, RecipeError
from gisegkit.recipe.check import check
from gisegkit.recipe.sections import Recipe
from gisegkit.recipe.text import Document, override, parse_value, read
from gisegkit.registry.kinds import Registries


def load_recipe(
    path: Path | str,
    *,
    registries: Registries,
    overrides: Sequence[str] = (),
    preset: Sequence[tuple[str, Any, str]] = (),
) -> Recipe:
    """Read, override, check and fill a recipe.

    Args:
        path: the TOML file.
        registries: the components that it may name.
        overrides: ``key=value`` texts as given with ``--set``; ``loss.0.weight=0.7`` reaches into a list.
        preset: (key, value, origin) set before the overrides; ``--demo`` uses it.

    Raises:
        RecipeError: with every mistake found, each with its place and a remedy.
    """
    document = read_document(path)
    if "run" in document.data and "model" not in document.data:
        found = "this is a plan, and a recipe is asked for"
        raise RecipeError(document.source, [Mistake(document.source, found, f"giseg plan {document.source}")])
    for key, value, origin in preset:
        override(document, key, value, origin)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            document.mistakes.append(Mistake(f"--set {text}", "no key=value", "write for example --set train.epochs=3"))
            continue
        override(document, key.strip(), parse_value(value.strip()), f"--set {text}")
    recipe, mistakes = check(document, registries)
    if recipe is None or mistakes:
        raise RecipeError(document.source, mistakes)
    return recipe


def read_document(path: Path | str, what: str = "recipe") -> Document:
    """The recipe file parsed, not yet checked.

    Args:
        what: is asked for, in words of an error: a recipe or a plan.

    Raises:
        RecipeError: if there is no such file or it is no text.
    """
    path = Path(path)
    try:
        document = read(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        near = sorted(str(file) for file in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        remedy = f"{what}s there: " + ", ".join(near) if near else "the path is relative to the current folder"
        raise RecipeError(str(path), [Mistake(str(path), f"no such {what}", remedy)]) from None
    except (OSError, ValueError) as error:
        remedy = f"a {what} is a text file in UTF-8, such as those in {what}s/"
        raise RecipeError(str(path), [Mistake(str(path), f"cannot be read: {error}", remedy)]) from None
    return document
