"""Room 2: phonons → displaced configurations, by named laws that certify themselves."""

from phonograph.sampling.composition import Substitution
from phonograph.sampling.draw import sample
from phonograph.sampling.paper_eq3 import PaperEq3Sampler
from phonograph.sampling.random_laws import MatchedRandomSampler, PaperEq2Sampler
from phonograph.sampling.statistics import failed_checks, set_statistics
from phonograph.sampling.thermal import ThermalSampler

__all__ = [
    "MatchedRandomSampler",
    "PaperEq2Sampler",
    "PaperEq3Sampler",
    "Substitution",
    "ThermalSampler",
    "failed_checks",
    "sample",
    "set_statistics",
]
