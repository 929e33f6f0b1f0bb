"""gisegkit: segment slices of medical scans from short recipes and pip-installable plugins.

Importing it does not import torch. The public names are those of ``__all__``.
"""

from __future__ import annotations

from gisegkit.errors import GisegError
from gisegkit.registry.hookspecs import hookimpl
from gisegkit.types import IGNORE, Above, AtLeast, Batch, Between

__version__ = "0.1.0"

__all__ = ["IGNORE", "Above", "AtLeast", "Batch", "Between", "GisegError", "__version__", "hookimpl"]
