"""The page of a plan is made of what is done, and of what is not; its ranking is tested in test_ranking."""

from __future__ import annotations

import re

from gisegkit.types import JobEnd
from gisegkit.workflows.plan import run_plan
from gisegkit.workflows.plan_page import evaluated_settings, rank_plan, write_page


def test_the_page_has_numbers_bars_and_what_is_not_done(cluster, open_, finish):
    def fate(job, number):
        return JobEnd(3) if job.name.endswith("2") else finish(job, 0.5 + int(job.name[-1]) / 4)

    work = open_()
    ran = run_plan(work, cluster(fate), say=lambda line: None)
    settings, planned = evaluated_settings(work, ran.states)
    assert list(settings) == ["n"] and len(settings["n"]) == 2 and planned["n"] == 3
    found = rank_plan(work, ran.states)
    page = write_page(work, ran.states, found).read_text()
    assert "steps: 2 done, 1 failed" in page and "exit status 3" in page and "2 of 3" in page
    assert len(re.findall(r'<circle class="s1"', page)) == 2  # one a seed
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_setting_without_some_of_its_folds_is_said_to_be_scored_on_fewer_cases(cluster, open_, finish):
    """All seeds lack the same fold, so that nothing else tells."""
    text = '[[run]]\nname = "n"\nrecipe = "{recipe}"\n[run.vary]\n"split.fold" = [0, 1]\n"seed" = [0, 1]\n{more}'

    def fate(job, number):
        return JobEnd(3) if "fold=1" in " ".join(cluster.sets(job)) else finish(job)

    work = open_(text=text)
    ran = run_plan(work, cluster(fate), say=lambda line: None)
    gone = [name for name, state in ran.states.items() if state.word != "done"]
    (note,) = (note for note in rank_plan(work, ran.states).notes if "fewer cases than planned" in note)
    assert len(gone) == 2 and note.startswith("The score of n is of") and all(name in note for name in gone)
    assert "are not done" in note and note in write_page(work, ran.states, rank_plan(work, ran.states)).read_text()
