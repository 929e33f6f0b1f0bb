"""A ranking as a table: its rows for the page and for ``ranking.csv``."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from gisegkit.engine.bootstrap import Interval
from gisegkit.workflows.ranking import Ranking


def as_rows(ranking: Ranking) -> list[dict[str, Any]]:
    """A row a setting, for a table of any kind."""
    rows = []
    for place, row in enumerate(ranking.rows, start=1):
        other = row.comparison
        none = Interval(math.nan, math.nan, math.nan)
        difference = none if other is None else other.difference
        first = row.name == ranking.first
        said = row.unlike or ("the others are compared with it" if first else "" if other is None else other.verdict)
        rows.append(
            {
                "place": place,
                "setting": row.name,
                "metric": ranking.metric,
                "score": row.interval.estimate,
                "low": row.interval.low,
                "high": row.interval.high,
                "seeds": len(row.runs),
                "planned_seeds": row.planned,
                "lowest_seed": row.spread[0],
                "highest_seed": row.spread[1],
                "cases": row.cases,
                "difference": difference.estimate,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "p": math.nan if other is None else other.p,
                "p_adjusted": math.nan if other is None else other.adjusted,
                "verdict": said,
                "differences": "; ".join(row.differences),
                "runs": " ".join(run.path.name for run in row.folders),
            }
        )
    return rows


def as_csv(ranking: Ranking) -> str:
    """``ranking.csv``: undefined numbers are empty cells."""
    text = io.StringIO()
    rows = as_rows(ranking)
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        )
    return text.getvalue()
