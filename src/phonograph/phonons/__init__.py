"""Room 1: force constants of a supercell, harmonic or renormalised at a temperature."""

from phonograph.phonons.relax import relax
from phonograph.phonons.settings import Relaxation, Renormalisation
from phonograph.phonons.source import AseForces, CalculatorForces, ForceSource
from phonograph.phonons.verb import compute_phonons

__all__ = [
    "AseForces",
    "CalculatorForces",
    "ForceSource",
    "Relaxation",
    "Renormalisation",
    "compute_phonons",
    "relax",
]
