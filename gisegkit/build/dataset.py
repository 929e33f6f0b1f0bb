"""A component becomes an object; a dataset is verified, and where its prepared slices are kept is settled.

Imports no torch, which would take longer than listing a set of the competition's size and looking at its store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from gisegkit.data.dataset_check import breaches, contradictions, row_problems
from gisegkit.data.findings import findings_of, refuse_errors
from gisegkit.data.intensities import Normalization, keeps_zero
from gisegkit.data.neighbors import neighbor_warnings
from gisegkit.data.store.layout import Layout, Prepared
from gisegkit.data.store.store import Store
from gisegkit.errors import ComponentError, DataError, GisegError, Mistake, RecipeError
from gisegkit.machine import parse_size
from gisegkit.recipe.sections import ComponentSpec, Recipe
from gisegkit.registry.kinds import Owner, Registries
from gisegkit.types import Dataset


def build_component(spec: ComponentSpec, registries: Registries, **given: Any) -> Any:
    """The object that a component's factory returns.

    Args:
        spec: name and parameters from the recipe.
        given: what gisegkit hands in; a factory receives those that its signature names.

    Raises:
        ComponentError: if it cannot be imported or its factory fails; names place, owner and cause.
    """
    component = registries[spec.kind].get(spec.name)
    wanted = component.signature()
    handed = {key: value for key, value in given.items() if key in wanted.parameters or wanted.open}
    factory = component.load()
    try:
        made = factory(**handed, **spec.params)
    except GisegError as error:
        error.args = (f"{spec.place}: {error}",) if spec.place else error.args
        raise
    except Exception as error:  # whatever a factory raises
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        what = f"{spec.kind} {spec.name!r} of {component.owner}"
        raise ComponentError(f"{spec.place}: {what} cannot be built with {dict(spec.params)}: {cause}") from error
    with contextlib.suppress(AttributeError, TypeError):  # some objects take no attributes
        made.registered_as = f"{spec.kind} {spec.name!r} of {component.owner}"  # for the errors that it raises later
    return made


def verify_dataset(dataset: Dataset, spec: ComponentSpec, owner: Owner, *, say: Callable[[str], None]) -> None:
    """Check the contract that everything else relies on; of a plugin's dataset, a few rows are read.

    Args:
        say: is given a line for each doubt about a plugin's dataset.

    Raises:
        DataError: if it holds no slices, or they contradict each other: ids that are there twice, a scan of two cases
            or of two sizes.
        ComponentError: if its table or its readers break the contract; names place and owner.
    """
    what = f"{spec.place}: dataset {spec.name!r}"
    remedy = "gisegkit.testing.check_dataset makes this check in the plugin's own tests"
    try:
        if not len(getattr(dataset, "table", "?")):
            refuse_errors(findings_of(dataset))  # which say why there is nothing
        wrong = breaches(dataset)
        if not wrong and dataset.table.empty:
            raise DataError(f"{what} holds no slices")
        apart = [] if wrong else contradictions(dataset)
        readers = [] if wrong or apart or owner.distribution == "gisegkit" else row_problems(dataset)
    except GisegError:
        raise
    except Exception as error:
        raise ComponentError(f"{what} of {owner} cannot be checked: {type(error).__name__}: {error}") from error
    if wrong:
        raise ComponentError(f"{what} of {owner}: {'; '.join(wrong)} ({remedy})")
    if apart:
        raise DataError(f"{what}: {'; '.join(apart)}")
    refused = [problem for problem in readers if problem.refused]
    if refused:
        texts = list(dict.fromkeys(problem.text for problem in refused))
        raise ComponentError(f"{what} of {owner}: {'; '.join(texts)} ({remedy})") from refused[0].cause
    for problem in readers:
        say(f"warning: {what} of {owner}: {problem.text}")


def stack_warnings(recipe: Recipe, dataset: Dataset) -> list[str]:
    """Lines about slices that lack the neighbors which ``[input] slices`` asks for; none in 2D."""
    inputs = recipe.input
    return list(neighbor_warnings(dataset.table, slices=inputs.slices, stride=inputs.stride, edge=inputs.edge))


def make_store(recipe: Recipe, dataset: Dataset, normalization: Normalization) -> Store | None:
    """Where the prepared slices of a recipe are kept; None if it wants none, or the dataset cannot be prepared.

    Args:
        normalization: if it does more than divide, native slices are kept, because it is applied at that size.

    Raises:
        RecipeError: if it cannot, and is to be kept on the device; or if crops are to be kept there.
    """
    inputs = recipe.input
    if inputs.store == "device" and inputs.mode == "crop":
        found = 'input.mode = "crop" cuts crops on the CPU, and input.store = "device" keeps whole slices on the device'
        raise RecipeError(recipe.source, [Mistake(recipe.source, found, 'use input.store = "native" or "off"')])
    if inputs.store == "off" or not (hasattr(dataset, "sources") and hasattr(dataset, "root")):
        if inputs.store == "device":
            found = f'input.store = "device", and the dataset {recipe.dataset.name!r} has no root and sources(row)'
            remedy = 'a dataset needs both to be prepared, see docs/store.md; or use input.store = "resized"'
            raise RecipeError(recipe.source, [Mistake(recipe.dataset.place, found, remedy)])
        return None
    # A crop is cut of the native slice, and what a normalization cuts off is cut off at native size.
    native = inputs.store == "native" or inputs.mode == "crop" or not keeps_zero(normalization)
    layout = Layout() if native else Layout(inputs.size, inputs.resize, inputs.interpolation)
    limit = None if inputs.store_limit == "auto" else parse_size(inputs.store_limit)
    return Store(dataset, name=recipe.dataset.name, layout=layout, limit=limit)


def prepared_line(store: Store | None, prepared: Prepared) -> str:
    """What the store holds, in words."""
    if store is None:
        return "no cache: input.store is off, or the data set does not support it"
    if not prepared.slices:
        return f"prepared: no slice yet; training prepares them in {store.folder}"
    return f"prepared: {prepared} in {store.folder}"
