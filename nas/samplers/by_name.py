"""Samplers by name."""

from __future__ import annotations

from nas.samplers.evolution import AgingEvolutionSampler
from nas.samplers.in_band import InBandSampler, SamplerError
from nas.samplers.observed_trials import SourceTrials
from nas.samplers.random import InBandRandomSampler
from nas.samplers.surrogate import SurrogateSampler
from nas.samplers.tpe import InBandTPESampler
from proxies.band.band import Band

_SAMPLERS: dict[str, type[InBandSampler]] = {
    "surrogate": SurrogateSampler, "evolution": AgingEvolutionSampler, "tpe": InBandTPESampler, "random": InBandRandomSampler,
}


def sampler_names() -> tuple[str, ...]:
    """The names of all samplers, the default first."""
    return tuple(_SAMPLERS)


def make_sampler(
    name: str, band: Band, seed: int, staleness: int = 1, source: SourceTrials | None = None
) -> InBandSampler:
    """A sampler by name, with its default settings; SamplerError lists the names."""
    if name not in _SAMPLERS:
        raise SamplerError(f"sampler: got {name!r}, expected one of {', '.join(_SAMPLERS)}")
    return _SAMPLERS[name](band, seed, staleness=staleness, source=source)
