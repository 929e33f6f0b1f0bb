"""Contract checks, one a kind: gisegkit runs them over every built-in, plugin authors call the same functions.

Each raises ContractError, an AssertionError, with what was expected and what came; what may be meant so is a
ContractWarning. In a plugin's tests::

    from gisegkit.testing import check_loss

    def test_edge_bce():
        check_loss(EdgeBCE(width=3))

Before training, gisegkit makes the same checks of every component that a plugin brings, with the facts of the data.
"""

from __future__ import annotations

from gisegkit.testing.augmentation import check_augmentation
from gisegkit.testing.batch_transforms import check_batch_transform
from gisegkit.testing.component import check_component
from gisegkit.testing.dataset import check_dataset
from gisegkit.testing.executors import check_executor
from gisegkit.testing.expect import ContractError, ContractWarning, expect
from gisegkit.testing.losses import check_gradient, check_loss
from gisegkit.testing.metrics import check_metric
from gisegkit.testing.models import check_model
from gisegkit.testing.normalizations import check_normalization
from gisegkit.testing.optimizers import check_optimizer
from gisegkit.testing.postprocess import check_postprocess
from gisegkit.testing.schedules import check_schedule
from gisegkit.testing.searches import check_search
from gisegkit.testing.trackers import check_tracker
from gisegkit.testing.writers import check_writer

__all__ = [
    "ContractError",
    "ContractWarning",
    "check_augmentation",
    "check_batch_transform",
    "check_component",
    "check_dataset",
    "check_executor",
    "check_gradient",
    "check_loss",
    "check_metric",
    "check_model",
    "check_normalization",
    "check_optimizer",
    "check_postprocess",
    "check_schedule",
    "check_search",
    "check_tracker",
    "check_writer",
    "expect",
]
