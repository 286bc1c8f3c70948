"""Room 2: phonons → displaced configurations, by named laws that certify themselves."""

from phonograph.sampling.composition import Substitution
from phonograph.sampling.controls import MatchedRandomSampler
from phonograph.sampling.debye import DebyeSampler
from phonograph.sampling.draw import sample
from phonograph.sampling.label_matching import LabelMatch, match_labels
from phonograph.sampling.mode_laws import SignSampler, SobolSampler, ZGSampler
from phonograph.sampling.occupations import occupation_weights
from phonograph.sampling.pair_matching import PairMatchedSampler
from phonograph.sampling.paper_eq3 import PaperEq3Sampler
from phonograph.sampling.random_laws import PaperCodeSampler, PaperEq2Sampler
from phonograph.sampling.rattle import RattleSampler
from phonograph.sampling.reweight import Reweighting, reweight
from phonograph.sampling.snapshots import SnapshotSampler
from phonograph.sampling.statistics import certify, failed_checks
from phonograph.sampling.thermal import ThermalSampler

__all__ = [
    "DebyeSampler",
    "LabelMatch",
    "MatchedRandomSampler",
    "PairMatchedSampler",
    "PaperCodeSampler",
    "PaperEq2Sampler",
    "PaperEq3Sampler",
    "RattleSampler",
    "Reweighting",
    "SignSampler",
    "SnapshotSampler",
    "SobolSampler",
    "Substitution",
    "ThermalSampler",
    "ZGSampler",
    "certify",
    "failed_checks",
    "match_labels",
    "occupation_weights",
    "reweight",
    "sample",
]
