"""What the displacements of a set look like, and whether they obey the law they claim."""

from __future__ import annotations

import numpy as np

from phonograph.errors import DataError
from phonograph.lattice import harmonic_energy
from phonograph.sampling.certificate import law_checks
from phonograph.sampling.distances import bond_lengths, nearest_bonds, shortest_distance
from phonograph.sampling.laws import supercell_of
from phonograph.types import Configurations, Crystal, Phonons, SetStatistics


def set_statistics(configurations: Configurations, reference: Phonons | Crystal) -> SetStatistics:
    """Describe a set and test the claims of its law: the certificate.

    Species rms displacements are per Cartesian axis and about the equilibrium positions.  Bonds are the first
    shell of each pair of species in ``reference``.  The harmonic energy is ½uᵀΦu with the parent's Φ.  For the
    laws of this package the variance of each species, the covariance of nearest neighbours and the mean harmonic
    energy are tested at 4 standard errors against their analytic values, for the temperature and amplitude that
    each sample claims and the masses of the atoms present; :func:`failed_checks` puts failures into words.

    Parameters
    ----------
    configurations
        The set; sets without known displacements (from files) get the shortest distance only.
    reference
        The phonons or the crystal that the set was sampled from.

    Raises
    ------
    DataError
        When the set does not have the reference's number of atoms.
    """
    size = len(supercell_of(reference))
    known = bool(np.isfinite(configurations.displacements_A).all())
    if known and (np.diff(configurations.offsets) != size).any():
        raise DataError(
            f"set {configurations.name!r} has cells of {int(np.diff(configurations.offsets).min())} atoms or more, but "
            f"the reference has {size}; compare it with the crystal it was sampled from"
        )
    bonds = nearest_bonds(supercell_of(reference))
    lengths = bond_lengths(configurations, bonds, size) if known else {}
    return SetStatistics(
        name=configurations.name,
        n=len(configurations),
        species_rms_A=_species_rms(configurations) if known else (),
        minimum_distance_A=shortest_distance(configurations),
        nearest_bonds=tuple((pair, float(d.mean()), float(d.std())) for pair, d in sorted(lengths.items())),
        harmonic_energy_eV_per_atom=_mean_energy(configurations, reference, size) if known else float("nan"),
        checks=law_checks(configurations, reference, bonds) if known else (),
    )


def failed_checks(statistics: SetStatistics) -> tuple[str, ...]:
    """Return one sentence per check that failed, with what was found and what the law says."""
    return tuple(
        f"set {statistics.name!r} fails its certificate: {check.name} is {check.found:.5g} {check.unit}, but the law "
        f"it claims gives {check.expected:.5g} ± {check.tolerance:.2g} {check.unit}"
        for check in statistics.checks
        if not check.passed
    )


def _species_rms(configurations: Configurations) -> tuple[tuple[str, float], ...]:
    from ase.data import chemical_symbols

    squares = (configurations.displacements_A**2).mean(axis=1)
    numbers = configurations.numbers
    return tuple(
        (chemical_symbols[number], float(np.sqrt(squares[numbers == number].mean())))
        for number in dict.fromkeys(numbers.tolist())
    )


def _mean_energy(configurations: Configurations, reference: Phonons | Crystal, size: int) -> float:
    if not isinstance(reference, Phonons):
        return float("nan")
    displacements = configurations.displacements_A.reshape(-1, size, 3)
    values = reference.force_constants.values_eV_per_A2
    return float(harmonic_energy(values, displacements).mean()) / size
