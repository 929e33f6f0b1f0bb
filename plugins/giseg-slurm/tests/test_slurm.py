import functools, subprocess, sys
from giseg_slurm.executor import Slurm
from gisegkit.testing import check_executor


def test_contract(tmp_path):
    check_executor(
        functools.partial(Slurm, device="cpu", folder=str(tmp_path), cluster="local", interval=0.2), tmp_path / "w"
    )
