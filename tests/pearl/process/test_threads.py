"""A script's --threads counts for PyTorch and for NumPy's products alike."""

from tests.support.processes import run_python

CODE = """
import numpy, threadpoolctl, torch
from pearl.process.threads import use_threads

for count in (2, 1):
    use_threads(count)
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert pools
    print(torch.get_num_threads(), *sorted(set(pools)))
"""


def test_pytorch_and_numpy_use_as_many_threads_as_asked_for(tmp_path):
    done = run_python(CODE, tmp_path)
    assert done.stdout == "2 2\n1 1\n", done
