"""What a recipe says in ``requires``: distributions that must be installed, and their versions."""

from __future__ import annotations

from collections.abc import Iterable


def unmet(requirements: Iterable[str]) -> list[tuple[str, str]]:
    """The entries of ``requires`` that this machine does not meet, each with the reason."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    missing = []
    for text in requirements:
        try:
            requirement = Requirement(text)
            have = version(requirement.name)
        except InvalidRequirement:
            missing.append((text, 'is no requirement; write for example "giseg-cutmix>=0.1"'))
        except PackageNotFoundError:
            missing.append((text, f"is not installed; pip install {text!r}"))
        else:
            if not requirement.specifier.contains(have, prereleases=True):
                missing.append((text, f"is not met by the installed version {have}; pip install --upgrade {text!r}"))
    return missing
