"""What a recipe requires: installed and new enough, or the reason."""

from __future__ import annotations

from gisegkit.recipe.requirements import unmet


def test_what_is_met_is_not_listed_and_what_is_not_has_its_reason():
    assert unmet(["numpy>=1", "click"]) == []
    assert unmet(["numpy>=999"])[0][1].startswith("is not met by the installed version")
    assert unmet(["no-such-distribution"]) == [
        ("no-such-distribution", "is not installed; pip install 'no-such-distribution'")
    ]
    assert "is no requirement" in unmet(["???"])[0][1]
