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
