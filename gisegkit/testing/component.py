"""The contract check of any kind, as its row in KINDS names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gisegkit.registry.kinds import KINDS
from gisegkit.registry.signatures import load_path


def check_component(kind: str, build: Callable[..., Any], **facts: Any) -> None:
    """Make the contract check of a kind.

    Args:
        kind: its row in KINDS names the check.
        build: the factory. A check whose first parameter is called ``build`` gets it; any other gets what the factory
            returns without arguments.
        facts: what the check may want to know, such as ``classes`` and ``size``; it is given those that its signature
            names.

    Raises:
        ContractError: at the first violation.
        KeyError: if there is no such kind.
    """
    check = load_path(KINDS[kind].check)
    first, *others = inspect.signature(check).parameters
    check(build if first == "build" else build(), **{name: facts[name] for name in others if name in facts})
