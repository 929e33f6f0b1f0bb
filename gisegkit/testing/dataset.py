"""The contract of datasets: a table that agrees with itself, and readers that give what it says."""

from __future__ import annotations

import pickle

from gisegkit.data.dataset_check import breaches, contradictions, row_problems
from gisegkit.testing.expect import call, expect
from gisegkit.types import Dataset


def check_dataset(dataset: Dataset) -> None:
    """A dataset's table has the columns of the contract, and its readers give what the table says.

    Raises:
        ContractError: at the first violation; says all of one sort.
    """
    for find in (breaches, contradictions):
        problems = find(dataset)
        expect(not problems, "; ".join(problems))
    dataset = call("pickled, as worker processes take it", lambda: pickle.loads(pickle.dumps(dataset)))
    problems = [problem.text for problem in row_problems(dataset)]
    expect(not problems, "; ".join(problems))
