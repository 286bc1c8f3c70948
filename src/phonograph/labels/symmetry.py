"""Whether an engine knows the symmetry of a crystal, and whether forces and stress are derivatives of the energy.

A method can be sound for one chemistry and broken for another without any warning: only a test tells.  The laws tested:

- site symmetry: the forces F of the symmetric crystal and its stress σ obey every operation (R, t) of its space group,
  F_{R(i)} = R F_i and R σ Rᵀ = σ;
- equivalent copies: a displaced crystal and its image under an operation have one energy, forces that rotate as
  vectors and a stress that rotates as a tensor; so do a crystal and its copy rotated by any angle;
- forces: F·d = −∂E/∂s along x + s·d, by central differences;
- stress: V σ:ε = ∂E/∂s for the cell strained by s·ε (ASE's sign: positive where the energy grows on stretching).

Nye, Physical Properties of Crystals (1957), chapters I and V, has the laws of symmetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from phonograph.errors import DataError
from phonograph.labels.task import property_unit
from phonograph.options import check_options, option
from phonograph.streams import stream
from phonograph.types import Crystal, FloatArray, IntArray, Labeller, LabelResult
from phonograph.units import EV_PER_A3_IN_GPA

ENERGY, STRESS = "energy_eV_per_atom", "hydrostatic_stress_GPa"
FORCES, TENSOR = "forces_eV_per_A", "stress_GPa"
SYMMETRY_TOLERANCE_A = 1e-4


@dataclass(frozen=True, kw_only=True)
class SymmetryTolerances:
    """How far a law may be missed: rounding and self-consistency of sound engines stay below, defects lie far above."""

    energy_eV_per_atom: float = option(1e-4, "Energies of equivalent copies.", above=0.0)
    forces_eV_per_A: float = option(0.01, "Forces, between copies and against finite differences.", above=0.0)
    stress_GPa: float = option(0.05, "Stress, between copies and against finite strain.", above=0.0)
    levels_eV: float = option(3e-3, "Gap and band edges of equivalent copies.", above=0.0)
    relative: float = option(0.01, "Allowed besides, as a share of the largest value.", minimum=0.0)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class SymmetryCheck:
    """One law: what was found (largest violation), what is allowed, and the unit."""

    name: str
    found: float
    tolerance: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the law holds; a violation that is not a number breaks it."""
        return self.found <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class SymmetryResult:
    """The laws tested for one engine and one crystal.

    Attributes
    ----------
    engine, formula, space_group
        What was tested.
    checks
        Every law that the labeller's properties allow to test.
    failure
        Why nothing could be tested; empty where it could.
    """

    engine: str
    formula: str
    space_group: str
    checks: tuple[SymmetryCheck, ...] = ()
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether the engine could be asked and every law holds."""
        return not self.failure and all(check.passed for check in self.checks)

    @property
    def sentence(self) -> str:
        """What came out, in one sentence."""
        place = f"{self.engine} on {self.formula} ({self.space_group})"
        if self.failure:
            return f"{place} could not be tested: {self.failure}."
        broken = [f"{c.name} {c.found:.2g} {c.unit} (allowed {c.tolerance:.2g})" for c in self.checks if not c.passed]
        return f"{place} {'fails: ' + '; '.join(broken) if broken else f'passes {len(self.checks)} laws'}."


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """One symmetry operation, Cartesian rotation and the atom that each atom goes to."""

    rotation: FloatArray
    atoms: IntArray


@dataclass(frozen=True, kw_only=True)
class _Refused(Exception):
    """The labeller failed on a test crystal."""

    why: str


def symmetry_test(
    labeller: Labeller,
    crystal: Crystal,
    *,
    displacement_A: float = 0.03,
    step_A: float = 0.005,
    strain: float = 0.0005,
    tolerances: SymmetryTolerances | None = None,
    seed: int = 0,
) -> SymmetryResult:
    """Test a labeller on a symmetric crystal.

    Parameters
    ----------
    labeller
        Its numbers are compared between copies; its forces and stress too where it gives them as arrays.
    crystal
        A crystal on its symmetric sites; about a dozen calculations of it are made.
    displacement_A
        Standard deviation of the displacements of the copies, Å.
    step_A
        Largest displacement of an atom in the finite differences, Å.
    strain
        Largest strain in the finite differences.
    tolerances
        See :class:`SymmetryTolerances`.
    seed
        Of displacements, directions and rotations.

    Raises
    ------
    DataError
        A crystal without any symmetry but the identity: nothing can be learnt from it.
    """
    limits = tolerances or SymmetryTolerances()
    operations, group = _operations(crystal)
    if len(operations) < 2:
        raise DataError(
            f"the symmetry test needs a crystal with symmetry; {crystal.formula} has none within "
            f"{SYMMETRY_TOLERANCE_A:g} Å: put its atoms on their ideal sites"
        )
    test = _Test(labeller, crystal, operations, limits, stream(seed, "symmetry test", crystal.formula), displacement_A)
    result = SymmetryResult(engine=labeller.engine, formula=crystal.formula, space_group=group)
    try:
        copies = list(test.copies())
        checks = [*test.sites(), *copies, *test.slopes(step_A), *test.strains(strain)]
    except _Refused as refused:
        return SymmetryResult(engine=result.engine, formula=result.formula, space_group=group, failure=refused.why)
    return SymmetryResult(engine=result.engine, formula=result.formula, space_group=group, checks=tuple(checks))


@dataclass
class _Test:
    labeller: Labeller
    crystal: Crystal
    operations: list[_Operation]
    limits: SymmetryTolerances
    draw: np.random.Generator
    displacement_A: float
    shaken: Crystal = field(init=False)
    of_shaken: LabelResult = field(init=False)

    def ask(self, crystal: Crystal) -> LabelResult:
        result = self.labeller.label(crystal)
        if result.failure:
            raise _Refused(why=f"{result.failure}: {result.message}")
        return result

    def sites(self) -> Iterator[SymmetryCheck]:
        """Check forces and stress of the symmetric crystal itself, where the labeller gives them."""
        if not {FORCES, TENSOR} & self.of_shaken.arrays.keys():
            return
        found = self.ask(self.crystal)
        if FORCES in found.arrays:
            forces = found.arrays[FORCES]
            worst = max(np.abs(forces[o.atoms] - forces @ o.rotation.T).max() for o in self.operations)
            yield self._check("site symmetry of the forces", float(worst), FORCES, forces)
        if TENSOR in found.arrays:
            stress = found.arrays[TENSOR]
            worst = max(np.abs(o.rotation @ stress @ o.rotation.T - stress).max() for o in self.operations)
            yield self._check("point group of the stress", float(worst), TENSOR, stress)

    def copies(self) -> Iterator[SymmetryCheck]:
        """Check a displaced crystal against its image under a symmetry operation and a copy rotated by any angle."""
        noise = self.draw.normal(0.0, self.displacement_A, (len(self.crystal), 3))
        self.shaken = self._moved(noise)
        self.of_shaken = self.ask(self.shaken)
        operation = self._telling_operation()
        image = np.empty_like(noise)
        image[operation.atoms] = noise @ operation.rotation.T
        yield from self._same("symmetric copy", self.ask(self._moved(image)), operation.rotation, operation.atoms)
        rotation = random_rotation(self.draw)
        turned = Crystal(
            cell_A=self.shaken.cell_A @ rotation.T,
            positions_A=self.shaken.positions_A @ rotation.T,
            numbers=self.shaken.numbers,
        )
        yield from self._same("rotated copy", self.ask(turned), rotation, np.arange(len(self.crystal)))

    def slopes(self, step_A: float) -> Iterator[SymmetryCheck]:
        """Check forces against central differences of the energy, along two random directions."""
        forces = self.of_shaken.arrays.get(FORCES)
        if forces is None or ENERGY not in self.of_shaken.values:
            return
        worst = 0.0
        for _ in range(2):
            direction = self.draw.normal(size=forces.shape)
            direction *= 1.0 / np.linalg.norm(direction, axis=1).max()
            up, down = (self._energy(_shifted(self.shaken, sign * step_A * direction)) for sign in (1, -1))
            slope = -(up - down) / (2.0 * step_A)
            # Per unit length of the direction, so that the number does not grow with the number of atoms.
            worst = max(worst, abs(slope - float((forces * direction).sum())) / float(np.linalg.norm(direction)))
        yield self._check("forces by finite differences", worst, FORCES, forces)

    def strains(self, strain: float) -> Iterator[SymmetryCheck]:
        """Check stress against central differences of the energy, for an isotropic and a random symmetric strain."""
        stress = self.of_shaken.arrays.get(TENSOR)
        if stress is None or ENERGY not in self.of_shaken.values:
            return
        random = self.draw.normal(size=(3, 3))
        random += random.T
        worst = 0.0
        for shape in (np.eye(3), random / np.abs(random).max()):
            up, down = (self._energy(_strained(self.shaken, sign * strain * shape)) for sign in (1, -1))
            slope = (up - down) / (2.0 * strain) / self.shaken.volume_A3 * EV_PER_A3_IN_GPA
            worst = max(worst, abs(slope - float((stress * shape).sum())) / float(np.linalg.norm(shape)))
        yield self._check("stress by finite strain", worst, TENSOR, stress)

    def _energy(self, crystal: Crystal) -> float:
        return self.ask(crystal).values[ENERGY] * len(crystal)

    def _moved(self, displacements_A: FloatArray) -> Crystal:
        return _shifted(self.crystal, displacements_A)

    def _telling_operation(self) -> _Operation:
        """Return an operation that rotates and moves atoms if there is one."""
        return max(
            self.operations,
            key=lambda o: (
                not np.allclose(o.rotation, np.eye(3), atol=1e-6),
                int((o.atoms != np.arange(len(o.atoms))).sum()),
                abs(np.trace(o.rotation) - 3.0) > 3.5,
            ),
        )

    def _same(self, words: str, found: LabelResult, rotation: FloatArray, atoms: IntArray) -> Iterator[SymmetryCheck]:
        """Compare the labels of a copy with those of the displaced crystal."""
        before = self.of_shaken
        for name in self.labeller.provides:
            gap = abs(found.values[name] - before.values[name])
            yield self._check(f"{name} of the {words}", gap, name, np.zeros(1))
        if FORCES in before.arrays:
            gap = float(np.abs(found.arrays[FORCES][atoms] - before.arrays[FORCES] @ rotation.T).max())
            yield self._check(f"forces of the {words}", gap, FORCES, before.arrays[FORCES])
        if TENSOR in before.arrays:
            gap = float(np.abs(found.arrays[TENSOR] - rotation @ before.arrays[TENSOR] @ rotation.T).max())
            yield self._check(f"stress of the {words}", gap, TENSOR, before.arrays[TENSOR])

    def _check(self, name: str, found: float, quantity: str, values: FloatArray) -> SymmetryCheck:
        absolute, unit = _limit(self.limits, quantity)
        tolerance = absolute + self.limits.relative * self._scale(quantity, values)
        return SymmetryCheck(name=name, found=found, tolerance=tolerance, unit=unit)

    def _scale(self, quantity: str, values: FloatArray) -> float:
        """Return the size that a relative tolerance refers to; not that of a divergence, which would excuse itself."""
        largest = {FORCES: 10.0, TENSOR: 50.0}.get(quantity, 0.0)
        return min(float(np.abs(values).max()), largest)


def _limit(limits: SymmetryTolerances, quantity: str) -> tuple[float, str]:
    """Return the absolute tolerance of a quantity and its unit."""
    known: Mapping[str, tuple[float, str]] = {
        ENERGY: (limits.energy_eV_per_atom, "eV/atom"),
        STRESS: (limits.stress_GPa, "GPa"),
        TENSOR: (limits.stress_GPa, "GPa"),
        FORCES: (limits.forces_eV_per_A, "eV/Å"),
    }
    return known[quantity] if quantity in known else (limits.levels_eV, property_unit(quantity))


def _operations(crystal: Crystal) -> tuple[list[_Operation], str]:
    """Return the operations of the space group (Cartesian) and its name."""
    import warnings

    import spglib

    cell = (crystal.cell_A, crystal.fractional, crystal.numbers)
    with warnings.catch_warnings():
        # spglib announces that failures will raise one day; today it returns None, which is handled here.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        found = spglib.get_symmetry_dataset(cell, symprec=SYMMETRY_TOLERANCE_A)
    if found is None:
        return [], "no space group"
    to_cartesian, to_fractional = crystal.cell_A.T, np.linalg.inv(crystal.cell_A.T)
    operations = []
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        moved = crystal.fractional @ rotation.T + translation
        apart = moved[:, None] - crystal.fractional[None]
        apart -= np.rint(apart)
        atoms = np.linalg.norm(apart @ crystal.cell_A, axis=2).argmin(axis=1)
        operations.append(_Operation(rotation=to_cartesian @ rotation @ to_fractional, atoms=atoms))
    return operations, f"{found.international} ({found.number})"


def random_rotation(draw: np.random.Generator) -> FloatArray:
    """Return a random proper rotation, uniform over all, from a random unit quaternion."""
    quaternion = draw.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _shifted(crystal: Crystal, displacements_A: FloatArray) -> Crystal:
    return Crystal(cell_A=crystal.cell_A, positions_A=crystal.positions_A + displacements_A, numbers=crystal.numbers)


def _strained(crystal: Crystal, strain: FloatArray) -> Crystal:
    deform = np.eye(3) + strain
    return Crystal(
        cell_A=crystal.cell_A @ deform.T, positions_A=crystal.positions_A @ deform.T, numbers=crystal.numbers
    )
