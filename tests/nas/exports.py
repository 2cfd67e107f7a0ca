"""Networks to export, and the comparison of what was written with them."""

from pathlib import Path

from nas.export.format import ExportedNetwork, Format, differences
from nas.runs.records.metadata import NetworkMetadata
from space import Architecture, BlockSpec, StageSpec, build_network
from space.kinds import DOWNSAMPLERS, FFNS
from space.network import TokenMixerNet
from space.registry import Spec
from supernet.data.preprocessing import preprocessing_at
from tests.space.examples import SPACES, randomised

SMALL = SPACES["hybrid-32"].smallest()
SIDE = 64
"""Pixels of the images that the weights were trained on."""


def of_blocks(*blocks: BlockSpec) -> Architecture:
    """A network of two stages, half of the blocks in each."""
    middle = (len(blocks) + 1) // 2
    stages = [StageSpec(width=64, blocks=blocks[:middle])]
    if blocks[middle:]:
        stages.append(StageSpec(width=96, downsample=DOWNSAMPLERS("conv_downsample"), blocks=blocks[middle:]))
    return Architecture(name="small", image_size=32, num_classes=5, stages=tuple(stages))


def with_operator(spec: Spec) -> Architecture:
    is_mixer = spec.registry.kind == "mixer"
    return of_blocks(BlockSpec(mixer=spec if is_mixer else "global_mhra", ffn=FFNS("mlp", ratio=2) if is_mixer else spec, layer_scale=0.5))


def exported_of(architecture: Architecture, fused: bool = False) -> ExportedNetwork:
    network = randomised(build_network(architecture)).eval()
    return with_metadata(network.fuse() if fused else network, fused)


def with_metadata(network: TokenMixerNet, fused: bool = False, image_size: int | None = None) -> ExportedNetwork:
    """A network to write, at its architecture's image size or at another one."""
    architecture = network.architecture
    return ExportedNetwork(network, metadata_of(architecture, image_size or architecture.image_size), fused)


def metadata_of(architecture: Architecture, image_size: int) -> NetworkMetadata:
    names = tuple(f"class {number}" for number in range(architecture.num_classes))
    return NetworkMetadata(architecture.fingerprint, preprocessing_at(image_size), names)


def round_trip(form: Format, exported: ExportedNetwork, folder: Path) -> None:
    """Write, load, compare; `differences` raises where they are not the same."""
    folder.mkdir()
    form.write(exported, folder)
    assert {file.name for file in folder.iterdir()} == set(form.files)
    shapes = [shape for shape, _ in differences(form, exported, folder)]
    assert len(shapes) == 9
