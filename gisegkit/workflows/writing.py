"""Predictions become files: every writer of a recipe receives each slice once, scan by scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from gisegkit.build.data import Rows
from gisegkit.build.experiment import Experiment
from gisegkit.build.sharing import slices_together
from gisegkit.data.output import Output, PredictionFacts, SliceFacts
from gisegkit.data.spacing import spacing_at
from gisegkit.engine.decision import DecidedSlice
from gisegkit.engine.threaded_map import threaded_map
from gisegkit.errors import RunError
from gisegkit.recipe.sections import ComponentSpec
from gisegkit.report.preview import Panel
from gisegkit.types import Dataset
from gisegkit.workflows.pages import panel_of


class Written(NamedTuple):
    """What a writer has made: its name, and what it says of that."""

    name: str
    said: str


def write_predictions(
    experiment: Experiment, rows: Rows, out: Output, *, run: str, chosen: set[int]
) -> tuple[tuple[Written, ...], list[Panel]]:
    """Predict the rows once, and hand every slice to all writers.

    Args:
        run: the name of the run folder.
        chosen: rows whose pictures are wanted.

    Returns:
        What was written, in the recipe's order, and the pictures.

    Raises:
        RunError: if a file cannot be written.
    """
    writers = experiment.writers
    recipe, dataset = experiment.recipe, experiment.dataset
    facts = PredictionFacts(
        name=recipe.name,
        run=run,
        classes=experiment.classes,
        exclusive=experiment.exclusive,
        slices=len(rows),
        order=getattr(dataset, "submission_order", None),
        demo=recipe.demo,
        left_out=experiment.left_out,
    )
    for spec, writer in writers:
        with _placed(spec):
            writer.begin(facts, out)
    panels: list[Panel] = []
    with closing(_written(experiment, rows, writers, frozenset(chosen))) as slices:
        for item in slices:
            if item.row in chosen:
                panels.append(panel_of(item, dataset))
            del item  # else it would live until the next one is predicted
    written = []
    for spec, writer in writers:
        with _placed(spec):
            written.append(Written(spec.name, writer.finish()))
    return tuple(written), panels


def _written(
    experiment: Experiment, rows: Rows, writers: Sequence[tuple[ComponentSpec, Any]], chosen: frozenset[int]
) -> Generator[DecidedSlice]:
    """The predicted slices, once all writers have taken them; beside a GPU in a thread of its own, in order."""
    facts = slice_facts(experiment.dataset, rows)

    def take(item: DecidedSlice) -> DecidedSlice:
        known = next(facts)
        for spec, writer in writers:
            with _placed(spec):
                writer.write(known, item.prediction, item.probabilities if writer.wants == "probabilities" else None)
        return item

    wanted = any(writer.wants == "probabilities" for _, writer in writers)
    slices = slices_together(experiment, rows, label="predict", probabilities=wanted, chosen=chosen)
    threads = experiment.device.threads
    return threaded_map(take, slices, threads=min(1, threads), ahead=threads)


def slice_facts(dataset: Dataset, rows: Rows) -> Iterator[SliceFacts]:
    """What writers are told of the rows, in the order in which slices are predicted."""
    table = dataset.table
    scans = table["scan"].to_numpy()
    ordered = sorted(int(row) for row in rows)  # the table is sorted by scan and position
    depths = Counter(scans[row] for row in ordered)
    seen: Counter[Any] = Counter()
    columns = {name: table[name].to_numpy() for name in ("id", "position", "case", "height", "width")}
    for row in ordered:
        scan = scans[row]
        values = {name: column[row] for name, column in columns.items()}
        yield SliceFacts(
            id=str(values["id"]),
            scan=str(scan),
            position=int(values["position"]),
            case=str(values["case"]),
            height=int(values["height"]),
            width=int(values["width"]),
            index=seen[scan],
            depth=depths[scan],
            spacing=spacing_at(table, row),
        )
        seen[scan] += 1


@contextmanager
def _placed(spec: ComponentSpec) -> Iterator[None]:
    """Errors of the disk, which name no writer."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{spec.place}: writer {spec.name!r} cannot write: {error}") from error
