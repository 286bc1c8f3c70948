"""What the displacements of a set look like, and whether they obey the law they claim."""

from __future__ import annotations

import numpy as np

from phonograph.errors import DataError
from phonograph.lattice import harmonic_energy
from phonograph.sampling.certificate import LawReport, law_report
from phonograph.sampling.distances import bond_lengths, closest_atoms, duplicates, nearest_bonds
from phonograph.sampling.laws import supercell_of
from phonograph.types import Certificate, Check, Configurations, Crystal, Phonons
from phonograph.types.configurations import COVARIANCES

CONTACT = 0.4
"""Smallest distance, in units of the sum of two covalent radii, that a sound set may hold unless told otherwise."""


def certify(configurations: Configurations, reference: Phonons | Crystal, *, contact: float = CONTACT) -> Certificate:
    """Describe a set and test the claims of its law: the certificate.

    Species rms displacements are per Cartesian axis and about the equilibrium positions.  Bonds are the first
    shell of each pair of species in ``reference``.  The harmonic energy is ½uᵀΦu with the parent's Φ.

    For the laws of this package these are tested against their analytic values, for the temperature and amplitude
    that each sample claims and the masses of the atoms present: the variance of each species and of every atom and
    axis, the covariances of the axes of each atom and of nearest neighbours, the mean harmonic energy, the spread of
    the nearest bonds' lengths (Gaussian laws), the mean displacements, rigid shifts and the distribution of the
    normal coordinates.  Each bound is one that a sound set breaks once in about 16,000 checks (four standard
    deviations of a normal distribution).  Every set must be free of duplicates and, except for laws of independent
    coordinates, which overlap by design, of atoms closer than ``contact`` times the sum of their covalent radii.
    :func:`failed_checks` puts failures into words.

    Parameters
    ----------
    configurations
        The set; sets without known displacements (from files) get distances and duplicates only.
    reference
        The phonons or the crystal that the set was sampled from.
    contact
        Threshold of the shortest distance; 0.4 is far below any bond and above a collapse of two atoms.

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
    law = law_report(configurations, reference, bonds) if known else None
    shortest, relative = closest_atoms(configurations)
    tables = law.covariances_A2 if law is not None else (np.zeros((0, 6)),) * 4
    return Certificate(
        name=configurations.name,
        n=len(configurations),
        species_rms_A=_species_rms(configurations) if known else (),
        minimum_distance_A=shortest,
        nearest_bonds=tuple((pair, float(d.mean()), float(d.std())) for pair, d in sorted(lengths.items())),
        harmonic_energy_eV_per_atom=_mean_energy(configurations, reference, size) if known else float("nan"),
        checks=(*(law.checks if law is not None else ()), *_general_checks(configurations, law, relative, contact)),
        law_known=law is not None,
        touched_share=float(configurations.origin.settings.get("touched_share", np.nan)),
        sites=supercell_of(reference).symbols if law is not None else (),
        **dict(zip(COVARIANCES, tables, strict=True)),
    )


def _general_checks(
    configurations: Configurations, law: LawReport | None, relative: float, contact: float
) -> tuple[Check, ...]:
    """Return the checks that need no law; what a law does by design is not held against it."""
    made = []
    if law is None or law.correlated:
        made.append(
            Check(
                name="shortest distance over sum of covalent radii",
                found=relative,
                expected=contact,
                tolerance=0.0,
                passed=relative >= contact,
                kind="at least",
            )
        )
    if law is None or law.moving:
        found = duplicates(configurations)
        made.append(
            Check(name="duplicates", found=found, expected=0.0, tolerance=0.0, passed=found == 0, kind="at most")
        )
    return tuple(made)


def failed_checks(statistics: Certificate) -> tuple[str, ...]:
    """Return one sentence per check that failed, with what was found and what the law says."""
    return tuple(
        f"set {statistics.name!r} fails its certificate: {check.name} is {_measured(check.found, check.unit)}, "
        f"but {_demand(check)}"
        for check in statistics.checks
        if not check.passed
    )


def _demand(check: Check) -> str:
    if check.kind == "at least":
        return f"at least {_measured(check.expected, check.unit)} is demanded"
    if check.kind == "at most":
        return f"at most {_measured(check.expected + check.tolerance, check.unit)} is allowed"
    return f"the law it claims gives {check.expected:.5g} ± {_measured(check.tolerance, check.unit, 2)}"


def _measured(value: float, unit: str, digits: int = 5) -> str:
    return f"{value:.{digits}g} {unit}".rstrip()


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
