"""What a search looks for; the mistakes that a user can make in it are tested in test_searching."""

from __future__ import annotations

import pytest

from gisegkit.recipe.plan_check import as_plan
from gisegkit.recipe.plan_parts import parts_of
from gisegkit.recipe.text import read
from gisegkit.workflows.goal import goal_of

TEXT = """
[[run]]
recipe = "several.toml"
[search]
name = "random"
trials = 2
metric = "{metric}"
[search.space]
optimizer.lr = {{uniform = [0.1, 0.2]}}
"""


@pytest.mark.parametrize(("metric", "demo", "wanted"), [("dice/b", False, "dice/b"), ("dice/b", True, "dice")])
def test_a_class_that_phantoms_lack_is_searched_for_by_its_metric_in_a_demo(several, metric, demo, wanted):
    several.recipe()  # writes the file
    document = read(TEXT.format(metric=metric), str(several.folder / "plan.toml"))
    plan, registries = as_plan(document, demo=demo), several.plugins.registries
    plan.parts, _ = parts_of(document, registries)
    goal, mistakes = goal_of(plan, document, registries, demo=demo)
    assert not mistakes and goal.metric == wanted and goal.folds == 3
