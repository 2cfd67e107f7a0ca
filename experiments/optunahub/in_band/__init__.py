"""Samplers for categorical spaces with a hard limit on additive costs, as a package of OptunaHub."""

from nas.samplers.evolution import AgingEvolutionSampler
from nas.samplers.random import InBandRandomSampler
from nas.samplers.surrogate import SurrogateSampler
from nas.samplers.tpe import InBandTPESampler
from proxies.band.additive_cost import Term
from proxies.band.enumerated import band_of
from proxies.cost import Budget

__all__ = ["AgingEvolutionSampler", "Budget", "InBandRandomSampler", "InBandTPESampler", "SurrogateSampler", "Term", "band_of"]
