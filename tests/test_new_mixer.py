"""Adding a mixer is one new file: from then on every contract sweeps it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

POOLING = '''"""PoolFormer's token mixer (https://arxiv.org/abs/2111.11418, section 3.1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from space.kinds import MIXERS, NORMS


@MIXERS.register("pooling", paper="https://arxiv.org/abs/2111.11418", norm=NORMS("batch_norm"))
class Pooling(nn.Module):
    """A scaled average over 3x3 neighbours, less the token itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Linear(dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BCHW = x_BHWC.permute(0, 3, 1, 2)
        mean_BCHW = F.avg_pool2d(x_BCHW, 3, 1, 1, count_include_pad=False)
        return self.scale((mean_BCHW - x_BCHW).permute(0, 2, 3, 1))
'''


RECORDER = """from pathlib import Path

def pytest_collection_modifyitems(config, items):
    Path(__file__).with_name("collected.txt").write_text("\\n".join(item.nodeid for item in items))
    items[:] = [item for item in items if "pooling" in item.nodeid]
"""


def test_every_contract_sweeps_a_mixer_from_one_new_file(tmp_path: Path) -> None:
    (tmp_path / "pooling.py").write_text(POOLING)
    (tmp_path / "recorder.py").write_text(RECORDER)
    plugins = [argument for plugin in ("pooling", "recorder", "no:cacheprovider") for argument in ("-p", plugin)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/contracts", *plugins, "-o", "addopts=", "-v"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=250,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]

    collected = (tmp_path / "collected.txt").read_text().splitlines()
    swept_by = {mixer: {test.partition("[")[0] for test in collected if mixer in test} for mixer in ("pooling", "global_mhra")}
    assert len(swept_by["pooling"]) > 10
    assert swept_by["pooling"] == swept_by["global_mhra"]
    passed = {line.partition(" PASSED")[0] for line in run.stdout.splitlines() if " PASSED" in line}
    assert passed == {test for test in collected if "pooling" in test}
