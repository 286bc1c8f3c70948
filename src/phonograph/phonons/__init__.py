"""Room 1: force constants of a supercell, harmonic or renormalised at a temperature."""

from phonograph.phonons.dynamics import MolecularDynamics, molecular_dynamics
from phonograph.phonons.relax import relax
from phonograph.phonons.settings import ForceRegression, ModeProjection, Relaxation, Renormalisation
from phonograph.phonons.source import AseForces, CalculatorForces, ForceSource
from phonograph.phonons.verb import compute_phonons

__all__ = [
    "AseForces",
    "CalculatorForces",
    "ForceRegression",
    "ForceSource",
    "ModeProjection",
    "MolecularDynamics",
    "Relaxation",
    "Renormalisation",
    "compute_phonons",
    "molecular_dynamics",
    "relax",
]
