"""Arrays of a whole scan: in memory, or above a limit in a temporary file that the system maps into memory."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from gisegkit.errors import TrainingError
from gisegkit.machine import show_size

if TYPE_CHECKING:
    from gisegkit.types import AnyArray

LIMIT = 2**30
"""Bytes of the largest array that is held in memory."""


def new_array(shape: tuple[int, ...], dtype: Any) -> AnyArray:
    """An array of that shape, its values not set; a mapped one has the same values to the last bit.

    The temporary file has no name, so that nothing is left of it when the array is gone, or the process is killed.

    Raises:
        TrainingError: if the disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= LIMIT:
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    try:
        if shutil.disk_usage(folder).free < size:
            raise OSError
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # else a disk that fills up would end the process later
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except OSError as error:
        raise TrainingError(
            f"a scan of {' x '.join(map(str, shape))} values takes {show_size(size)} as a whole, for which {folder} "
            "has no room; name a folder on a larger disk in the environment variable TMPDIR, or leave out the "
            "post-processing steps that need the whole scan"
        ) from error
