"""The profile's rows are the network's parts, its table is readable, and its mistakes are one line."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.profile import main, parse_image_size, profile
from proxies.cost import Cost
from proxies.macs import cost_of, part_activations
from proxies.memory import prediction
from proxies.memory.prediction import memory_of
from space import build_network, dump_architecture, load_architecture, load_space, parent_names
from space.parts import build_part
from tests.nas.conftest import Mistaken

MEMBER = load_space("hybrid-32").largest()


def totals(rows, depth: int) -> tuple[Cost, int]:
    chosen = [row for row in rows if row.depth == depth]
    return sum((row.cost for row in chosen), Cost(0, 0)), sum(row.activations for row in chosen)


@pytest.mark.parametrize("name", ["davit-t", "shunted-t", "topformer-t", "uniformer-s-plus"])
@pytest.mark.parametrize("size", [(224, 224), (97, 130)])
def test_rows_add_up_to_the_network(name: str, size: tuple[int, int]) -> None:
    architecture = load_architecture(name)
    rows = profile(architecture, *size)
    cost, activations = totals(rows, 0)
    assert cost == cost_of(architecture, size)
    assert activations == sum(part_activations(part) for part in architecture.parts_at(*size))
    stages = [row for row in rows if row.name.startswith("stage ")]
    inside = totals(rows, 1)
    assert inside == (sum((row.cost for row in stages), Cost(0, 0)), sum(row.activations for row in stages))
    assert (rows[0].name, rows[-1].name) == ("stem", "head")


def test_equal_consecutive_blocks_share_a_row() -> None:
    rows = profile(load_architecture("shunted-s"), 224, 224)
    names = [row.name for row in rows]
    assert names[:6] == ["stem", "stage 1", "blocks 1-2", "norm", "stage 2", "downsample"]
    one = profile(load_architecture("davit-t"), 224, 224)
    assert [row.name for row in one if row.name.startswith("block")][:4] == ["block 1", "block 2", "block 1", "block 2"]


def test_activations_are_the_outputs_of_convolutions_and_products() -> None:
    """Counted again by hooks; the products inside attention are no modules.

    Its output is as large as its queries. Channel attention also puts out the affinities of a group's 32 channels.
    """
    # Windows of 7 tile these maps.
    for part in load_architecture("davit-t").parts_at(56, 112)[:10]:
        module, counted = build_part(part).eval(), 0

        def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
            nonlocal counted
            counted += output.numel()

        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(count)
        with torch.no_grad():
            module(torch.randn(1, *part.in_size, part.widths[0]))
        height, width = part.in_size
        attention = height * width * part.widths[0] if part.spec.type in ("window", "channel_group") else 0
        affinities = 32 * part.widths[0] if part.spec.type == "channel_group" else 0
        assert part_activations(part) == counted + attention + affinities, part.path


def test_the_command_prints_both_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes seconds a network.
    monkeypatch.setattr(prediction, "memory_of", lambda of, *how: memory_of(of, *how) if of.name in ("davit-t", "mine [bold]") else 0)
    path = tmp_path / "best.yaml"
    path.write_text(dump_architecture(MEMBER.replace(name="mine [bold]")))
    assert main([str(path), "davit-t", "--parents", "--image-size", "64"]) == 0
    text = capsys.readouterr().out
    assert "mine [bold] at 64x64" in text
    assert "davit-t at 64x64" in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith(("From", "Published, at")))
    assert all(re.search(rf"^ *{name} ", text, re.MULTILINE) for name in parent_names())
    params = sum(parameter.numel() for parameter in build_network(MEMBER, device="meta").parameters())
    assert f"{params / 1e3:,.1f}" in text
    assert re.search(r"^ total .* 100\.0 %", text, re.MULTILINE)
    assert re.search(r"davit-t +28\.36 +28\.3 ", text)
    davit, side = load_architecture("davit-t"), (64, 64)
    act, train = (f"{memory_of(davit, f'memory@{moment}', side) / 2**20:,.0f}" for moment in ("act", "train:bs32"))
    assert re.search(rf"davit-t .* {act} +{train} +82\.8", text)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "architectures: got none, expected a YAML file"),
    (["davit"], "got 'davit', expected one of container"),
    (["davit-t", "--image-size", "8"], "--image-size: got '8', expected a side from 32 to 4096"),
    (["davit-t", "--image-size", "64x64x64"], "--image-size: got '64x64x64'"),
    (["missing.yaml"], "missing.yaml"),
])
def test_a_mistake_is_one_line(arguments: list[str], message: str, mistaken: Mistaken) -> None:
    assert message in mistaken(main, arguments)


def test_sizes_read_height_first() -> None:
    assert parse_image_size("256") == (256, 256)
    assert parse_image_size("256x192") == (256, 192)
