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


def run_contracts(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over the contracts with the file of the new mixer loaded as a plugin."""
    command = [sys.executable, "-m", "pytest", "tests/contracts", "-p", "pooling", "-p", "no:cacheprovider", "-o", "addopts=", *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250)


def test_every_contract_sweeps_a_mixer_from_one_new_file(tmp_path: Path) -> None:
    (tmp_path / "pooling.py").write_text(POOLING)

    collected = run_contracts(tmp_path, "--collect-only", "-q").stdout.splitlines()
    swept_by = {kind: {test.partition("[")[0] for test in collected if kind in test} for kind in ("pooling", "global_mhra")}
    assert len(swept_by["pooling"]) > 10
    assert swept_by["pooling"] == swept_by["global_mhra"]

    run = run_contracts(tmp_path, "-v", "-k", "pooling")
    passed = {line.split()[0] for line in run.stdout.splitlines() if " PASSED" in line}
    assert run.returncode == 0, run.stdout[-4000:]
    assert passed == {test for test in collected if "pooling" in test}
