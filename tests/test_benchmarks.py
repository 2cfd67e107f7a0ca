"""What the benchmark compares is comparable, and it runs."""

from pathlib import Path

import pytest
import torch

from experiments.benchmarks import backends
from experiments.benchmarks.parents import main
from experiments.benchmarks.plain import PlainNetwork
from experiments.benchmarks.probes import drawn, only
from proxies.macs import cost_of
from space import build_network, load_space, parent_names

from .space.examples import randomised, shortened


@pytest.mark.parametrize("name", [name for name in parent_names() if not name.startswith("davit") and not name.endswith(("-b", "-l"))])
def test_the_plain_formulation_has_the_same_logits_and_parameters(name: str) -> None:
    network = randomised(build_network(shortened(name))).double().eval()
    plain = PlainNetwork(network).double().eval()
    images = torch.randn(1, 3, 64, 90).double()
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(plain(images), expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())
    assert sum(parameter.numel() for parameter in plain.parameters()) == sum(parameter.numel() for parameter in network.parameters())


def test_the_benchmark_writes_its_table(tmp_path: Path) -> None:
    output = tmp_path / "table.md"
    main(["--parents", "topformer-t", "--batches", "1", "--image-size", "64", "--rounds", "1", "--seconds", "0", "--threads", "1",
          "--output", str(output)])
    rows = [line.split("|")[1:5] for line in output.read_text().splitlines() if line.startswith("| topformer-t")]
    cases = [[cell.strip() for cell in row] for row in rows]
    assert cases == [["topformer-t", "1", dtype, passes] for dtype in ("fp32", "bf16") for passes in ("forward", "forward+backward")]


def test_the_benchmark_of_backends_writes_its_page(tmp_path: Path) -> None:
    output = tmp_path / "page.md"
    few = ["--trials", "8", "--evaluations", "10", "--seconds", "0.01", "--simulated", "4"]
    backends.main([*few, "--backends", "local", "--storages", "journal", "--output", str(output)])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.read_text().splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows if row[0] == "journal"] == [["journal", "1"], ["journal", "10"]]
    assert [len(row) for row in rows if row[0] == "local"] == [7, 5]


@pytest.mark.parametrize("mixer", ["local_mhra", "ssa", "channel_group"])
def test_networks_of_one_mixer_mix_tokens_by_nothing_else(mixer: str) -> None:
    found = drawn(only(load_space("hybrid-32"), mixer), "20MFLOPs", 3)
    assert len({architecture.fingerprint for architecture in found}) == 3
    for architecture in found:
        assert 18e6 <= cost_of(architecture).macs <= 20e6
        blocks = [block for stage in architecture.stages for block in stage.blocks]
        assert {(block.mixer.type, block.position.type, block.ffn.type) for block in blocks} == {(mixer, "none", "mlp")}
