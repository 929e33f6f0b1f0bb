"""The parts of a network that a recipe names: some are frozen, some have a learning rate of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MethodType
from typing import Any, TypeVar

from torch import nn

from gisegkit.errors import ComponentError, did_you_mean

M = TypeVar("M", bound=nn.Module)


def freeze(model: nn.Module, names: Sequence[str], *, place: str) -> None:
    """Keep parts of a network as they are: no gradient, and batch normalization that keeps its statistics.

    Args:
        names: of parts.
        place: where the recipe names them, for messages.

    Raises:
        ComponentError: if the network has no such part, or nothing is left to train.
    """
    for part in _named(model, names, place).values():
        part.requires_grad_(False)
        part.eval()
        for module in part.modules():  # a part may be a view of layers, which the network does not hold itself
            module.train = MethodType(_stay, module)  # type: ignore[method-assign]
    if names and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ComponentError(f"{place}: with {', '.join(names)} frozen, nothing is left to train")


def _stay(part: M, mode: bool = True) -> M:
    """In place of ``train`` of a frozen part: it stays in evaluation mode."""
    return part


def parameters_of(model: nn.Module, rates: Mapping[str, float], *, frozen: bool, place: str) -> list[Any]:
    """What an optimizer is given: all parameters, unless parts are frozen or have rates; see ``parameter_groups``.

    A list: a factory that goes through it twice, such as one with two groups, would find a generator empty.
    """
    if not rates and not frozen:
        return list(model.parameters())
    return parameter_groups(model, rates, place=f"{place}: optimizer.lr_by_part")


def parameter_groups(model: nn.Module, rates: Mapping[str, float], *, place: str) -> list[Any]:
    """What an optimizer is given: parameters; with rates, first the others, then a group for each part with a rate.

    Frozen parameters are left out.

    Args:
        rates: learning rates by the names of parts.
        place: where the recipe names them, for messages.

    Raises:
        ComponentError: if the network has no such part.
    """
    parts = _named(model, rates, place)
    own = {name: [value for value in part.parameters() if value.requires_grad] for name, part in parts.items()}
    taken = {id(value) for group in own.values() for value in group}
    rest = [value for value in model.parameters() if value.requires_grad and id(value) not in taken]
    if not rates:
        return rest
    groups: list[Any] = [{"params": rest}] if rest else []
    return groups + [{"params": group, "lr": rates[name]} for name, group in own.items() if group]


def _named(model: nn.Module, names: Iterable[str], place: str) -> dict[str, nn.Module]:
    wanted = list(names)
    if not wanted:
        return {}
    tell = getattr(model, "parts", None)
    if tell is None:
        raise ComponentError(f"{place}: the network {type(model).__name__} has no parts(), so none can be named")
    parts: dict[str, nn.Module] = dict(tell())
    for name in wanted:
        if name not in parts:
            advice = " ".join(filter(None, [did_you_mean(name, parts), f"There are: {', '.join(parts)}."]))
            raise ComponentError(f"{place}: the network has no part {name!r}; {advice}")
    return {name: parts[name] for name in wanted}
