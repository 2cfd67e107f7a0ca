"""The published network that an architecture is most like."""

from __future__ import annotations

from functools import lru_cache

from space.architecture import Architecture
from space.files import load_architecture, parent_names

Mixers = tuple[tuple[str, ...], ...]
"""Of the blocks, stage by stage."""


def difference_in_words(architecture: Architecture) -> str:
    """In how many blocks the mixer is that of the published network which has most mixers in common, block by block."""
    mixers = _mixers_of(architecture)
    published = _published(architecture.task)
    name = max(published, key=lambda name: _num_common(mixers, published[name]) / max(_num_blocks(mixers), _num_blocks(published[name])))
    nearest, total = published[name], _num_blocks(mixers)
    if nearest == mixers:
        return f"all its mixers are those of {name}"
    depths = "-".join(str(len(stage)) for stage in nearest)
    return f"most like {name} (depths {depths}): {_num_common(mixers, nearest)} of {total} blocks have its mixer"


def _mixers_of(architecture: Architecture) -> Mixers:
    return tuple(tuple(block.mixer.type for block in stage.blocks) for stage in architecture.stages)


@lru_cache
def _published(task: str) -> dict[str, Mixers]:
    return {name: _mixers_of(load_architecture(name)) for name in parent_names(task)}


def _num_blocks(mixers: Mixers) -> int:
    return sum(map(len, mixers))


def _num_common(one: Mixers, other: Mixers) -> int:
    stages = zip(one, other, strict=False)
    return sum(mixer == there for stage, stage_there in stages for mixer, there in zip(stage, stage_there, strict=False))
