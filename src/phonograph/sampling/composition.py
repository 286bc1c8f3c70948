"""Solid solutions: composition as a factor of its own, which combines with any law of displacements."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from phonograph.errors import ConfigurationError, DataError
from phonograph.options import check_options, option
from phonograph.sampling.laws import supercell_of
from phonograph.types import Crystal, FloatArray, IntArray, Phonons

OCCUPATIONS = ("random", "inequivalent", "quasirandom")

LARGEST_STRAIN = 0.25
"""End members whose lattices differ by more than this are taken for different settings of the cell."""


@dataclass(frozen=True, kw_only=True)
class Substitution:
    """Substitution of one species by another at given fractions, for example Ag3SBr(1−x)I(x).

    Sample i takes fraction ``fractions[i % len(fractions)]`` and replaces round(x·sites) sites; antithetic partners
    share their occupation.  Which sites is the choice ``occupations``:

    - ``"random"``: at random, from the stream of each sample.
    - ``"inequivalent"``: samples take all symmetry-inequivalent occupations of their fraction in turn.  Each stands for
      a number g of equivalent ones; averages over the random alloy need the weights g/Σg of
      :func:`phonograph.occupation_weights`.
    - ``"quasirandom"``: one occupation per fraction, shared by all its samples, whose pair correlations are nearest to
      those of the random alloy (a special quasirandom structure).

    Where a sampler takes its own settings in turn (amplitudes of Eq. 2) the fractions, and within a fraction the
    occupations, are shifted by one after each common cycle, so that every fraction meets every amplitude.

    Samples of one occupation are different draws of displacements.  They share a split group only with
    ``group_by_occupation``, which tests a model on occupations that it was not trained on.

    The force constants are those of the parent crystal for every composition; the masses are those of the actual
    atoms, so the dynamical matrix is diagonalised for each occupation.

    ``lattice="vegard"``: cell(x) = (1 − x)·cell_A + x·cell_B, lattice vector by lattice vector, A the parent and B
    the end member; atoms keep their fractional coordinates.  ``lattice="fixed"``: the parent's cell.

    References
    ----------
    Denton & Ashcroft, Phys. Rev. A 43, 3161 (1991), https://doi.org/10.1103/PhysRevA.43.3161 (Vegard's law);
    Zunger et al., Phys. Rev. Lett. 65, 353 (1990), https://doi.org/10.1103/PhysRevLett.65.353 (quasirandom).
    """

    replace: str = option(help="Symbol of the species that is replaced, for example 'Br'.")
    by: str = option(help="Symbol of the species that replaces it, for example 'I'.")
    fractions: tuple[float, ...] = option(
        (0.25, 0.5, 0.75),
        "Fractions x of the sites that are replaced; samples take them in turn.",
        minimum=0,
        maximum=1,
    )
    occupations: str = option(
        "random",
        "Which sites are replaced: random for each sample, inequivalent (all symmetry-inequivalent occupations in "
        "turn), or quasirandom (one special quasirandom occupation per fraction).",
        choices=OCCUPATIONS,
    )
    shells: int = option(
        3, "Shells of neighbours whose pair correlations occupations = 'quasirandom' matches.", minimum=1, maximum=20
    )
    triplets: bool = option(False, "Match the triplets within these shells too.")
    group_by_occupation: bool = option(
        False, "Keep all samples of one occupation on the same side of a split, to test on new occupations."
    )
    lattice: str = option(
        "vegard",
        "Lattice at fraction x: vegard (interpolated to the end member) or fixed (the parent's).",
        choices=("vegard", "fixed"),
    )
    end_member_file: str = option(
        "", "Structure file of the fully substituted crystal (unit cell or supercell), for lattice = 'vegard'."
    )
    end_member: Crystal | None = dataclasses.field(
        default=None,
        repr=False,
        metadata={"help": "The fully substituted crystal, read from end_member_file.", "python_only": True},
    )

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("replace", "by"):
            atomic_number(getattr(self, name), f"Substitution.{name}")
        if self.replace == self.by:
            raise ConfigurationError(f"Substitution must replace a species by another one; got {self.by!r} twice")
        if not self.fractions:
            raise ConfigurationError("Substitution.fractions must name at least one fraction; got none")
        if self.lattice == "vegard" and self.end_member is None and not self.end_member_file:
            raise ConfigurationError(
                "Substitution needs the fully substituted crystal for Vegard's lattice; give end_member_file "
                "(a structure file), or set lattice to 'fixed'"
            )


def substituted_sites(substitution: Substitution, parent: Crystal) -> IntArray:
    """Return the indices of the sites that may be replaced; raises :class:`ConfigurationError` if there are none."""
    sites = np.flatnonzero(parent.numbers == atomic_number(substitution.replace, "Substitution.replace"))
    if len(sites) == 0:
        raise ConfigurationError(
            f"composition replaces {substitution.replace}, but the crystal {parent.formula} holds none; "
            f"its species are {', '.join(sorted(set(parent.symbols)))}"
        )
    return sites


def substituted(reference: Phonons | Crystal, numbers: IntArray, cell_A: FloatArray | None = None) -> Phonons | Crystal:
    """Return ``reference`` with other atoms on its sites, in another cell, with its own force constants.

    Atoms that differ from the parent get the standard mass of their element.  Positions scale with the cell.

    Parameters
    ----------
    numbers
        Atomic numbers, shape (n,).
    cell_A
        New supercell lattice, Å, shape (3, 3); the parent's where None.
    """
    from ase.data import atomic_masses

    parent = supercell_of(reference)
    cell = parent.cell_A if cell_A is None else cell_A
    crystal = Crystal(
        cell_A=cell,
        positions_A=parent.positions_A if cell_A is None else parent.fractional @ cell,
        numbers=numbers,
        masses_amu=np.where(numbers == parent.numbers, parent.masses_amu, atomic_masses[numbers]),
        title=parent.title,
    )
    if isinstance(reference, Crystal):
        return crystal
    return dataclasses.replace(
        reference, force_constants=dataclasses.replace(reference.force_constants, supercell=crystal)
    )


def vegard_cell(substitution: Substitution, reference: Phonons | Crystal, fraction: float) -> FloatArray | None:
    """Return cell(x) = (1 − x)·cell_A + x·cell_B of the supercell, Å; None for ``lattice="fixed"``."""
    if substitution.lattice == "fixed":
        return None
    if substitution.end_member is None:
        raise ConfigurationError(
            f"the end member {substitution.end_member_file!r} has not been read; pass it to Substitution as end_member"
        )
    parent = supercell_of(reference)
    other = end_member_cell(substitution, parent, substitution.end_member)
    return (1.0 - fraction) * parent.cell_A + fraction * other


def end_member_cell(substitution: Substitution, parent: Crystal, end: Crystal) -> FloatArray:
    """Return the end member's lattice replicated to the parent's supercell, Å.

    Raises
    ------
    DataError
        When its composition is not that of the fully substituted parent, or its lattice another setting.
    """
    ratio = len(parent) / len(end)
    expected = np.where(
        parent.numbers == atomic_number(substitution.replace, "Substitution.replace"),
        atomic_number(substitution.by, "Substitution.by"),
        parent.numbers,
    )
    if sorted(np.repeat(end.numbers, max(1, round(ratio))).tolist()) != sorted(expected.tolist()):
        raise DataError(
            f"the end member must be {parent.formula} with all {substitution.replace} replaced by {substitution.by} "
            f"(a unit cell or the supercell); got {end.formula}"
        )
    relative = parent.cell_A @ np.linalg.inv(end.cell_A)
    replication = np.rint(relative)
    if round(abs(np.linalg.det(replication))) != round(ratio) or _strain(relative, replication) > LARGEST_STRAIN:
        raise DataError(
            "the end member's lattice vectors must be those of the parent up to a strain, in the same order and "
            "orientation; give it in the same setting as the parent"
        )
    return replication @ end.cell_A


def _strain(relative: FloatArray, replication: FloatArray) -> float:
    return float(np.abs(np.linalg.solve(replication, relative) - np.eye(3)).max())


def atomic_number(symbol: str, where: str) -> int:
    """Return the atomic number of ``symbol``; raises :class:`ConfigurationError` naming the option ``where``."""
    from ase.data import atomic_numbers

    number = atomic_numbers.get(symbol, 0)
    if not 1 <= number <= 118:
        raise ConfigurationError(f"{where} must be a chemical symbol such as 'Br'; got {symbol!r}")
    return number
