"""Numbers that describe a configuration without a network: composition, volume, ⟨u²⟩ and SOAP power spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from phonograph.errors import ConfigurationError
from phonograph.options import check_options, option
from phonograph.types import Configurations, FloatArray, read_only
from phonograph.types.arrays import set_field


@dataclass(frozen=True, kw_only=True, eq=False)
class Descriptors:
    """One row of numbers per configuration.

    Attributes
    ----------
    sample_ids
        Per row.
    values
        Shape (n, d); NaN where a number is not known.
    blocks
        First column of each block of columns that are scaled together; a block is one kind of number.
    """

    sample_ids: tuple[str, ...]
    values: FloatArray
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = (len(self.sample_ids), None)
        set_field(self, "values", read_only("descriptors", self.values, shape, finite=False))


@dataclass(frozen=True, kw_only=True)
class Soap:
    """Smooth overlap of atomic positions: rotation-invariant power spectra of the density around each atom.

    p_nn'l = π √(8/(2l + 1)) Σ_m c_nlm* c_n'lm, with c_nlm the coefficients of Gaussians of width σ at the neighbours in
    radial functions n and spherical harmonics (l, m).  Source: Bartók, Kondor & Csányi, Phys. Rev. B 87, 184115
    (2013), doi:10.1103/PhysRevB.87.184115; computed by DScribe, Himanen et al., Comput. Phys. Commun. 247, 106949
    (2020), doi:10.1016/j.cpc.2019.106949.
    """

    cutoff_A: float = option(5.5, "Radius around each atom, Å.", above=1.0, maximum=12.0)
    n_max: int = option(7, "Radial functions.", minimum=1, maximum=16)
    l_max: int = option(4, "Highest degree of the spherical harmonics.", minimum=0, maximum=10)
    width_A: float = option(0.5, "Width σ of the Gaussians, Å.", above=0.01, maximum=3.0)

    def __post_init__(self) -> None:
        check_options(self, "evaluation.soap")


def composition_and_volume(sets: Sequence[Configurations]) -> Descriptors:
    """Return the fraction of each element and the volume per atom in Å³, shape (n, elements + 1)."""
    elements = np.unique(np.concatenate([item.numbers for item in sets]))
    rows = [np.column_stack([_fractions(item, elements), _volumes(item)]) for item in sets]
    return Descriptors(sample_ids=_ids(sets), values=np.concatenate(rows), blocks=tuple(range(len(elements) + 1)))


def mean_square_displacement(sets: Sequence[Configurations]) -> Descriptors:
    """Return composition, volume and ⟨u²⟩ of each element in Å², shape (n, 2·elements + 1).

    ⟨u²⟩ = Σ_i |u_i − ū|²/n over the n atoms i of an element, with u the displacement and ū its mean over all atoms of
    the crystal, so that a rigid shift does not count; 0 for an element that a crystal does not hold, NaN where the
    undisplaced positions are not known.
    """
    first = composition_and_volume(sets)
    elements = np.unique(np.concatenate([item.numbers for item in sets]))
    rows = np.concatenate([_mean_squares(item, elements) for item in sets])
    values = np.column_stack([first.values, rows])
    return Descriptors(sample_ids=first.sample_ids, values=values, blocks=tuple(range(values.shape[1])))


def soap(sets: Sequence[Configurations], settings: Soap | None = None, *, workers: int = 1) -> Descriptors:
    """Return Σ_{i ∈ s} p_i/n for each element s: its atoms' SOAP power spectra, summed and divided by all n atoms.

    Parameters
    ----------
    sets
        The configurations; all their elements enter.
    settings
        Options of the power spectrum.
    workers
        Processes.

    Raises
    ------
    ConfigurationError
        When DScribe is not installed.
    """
    settings = settings or Soap()
    elements = np.unique(np.concatenate([item.numbers for item in sets]))
    machine = _machine(settings, elements)
    rows = [_summed(item, elements, machine, workers) for item in sets]
    size = rows[0].shape[1] // len(elements)
    return Descriptors(
        sample_ids=_ids(sets), values=np.concatenate(rows), blocks=tuple(size * place for place in range(len(elements)))
    )


def _machine(settings: Soap, elements: FloatArray) -> Any:
    try:
        from dscribe.descriptors import SOAP
    except ImportError as error:
        raise ConfigurationError(
            f"the reference 'soap-krr' needs DScribe and scikit-learn ({error}); install them with: "
            'pip install "phonograph[references]"'
        ) from error
    return SOAP(
        species=elements.tolist(),
        r_cut=settings.cutoff_A,
        n_max=settings.n_max,
        l_max=settings.l_max,
        sigma=settings.width_A,
        periodic=True,
    )


def _summed(item: Configurations, elements: FloatArray, machine: Any, workers: int) -> FloatArray:
    from ase import Atoms

    crystals = [item.crystal(place) for place in range(len(item))]
    atoms = [Atoms(numbers=c.numbers, positions=c.positions_A, cell=c.cell_A, pbc=True) for c in crystals]
    values = np.empty((len(atoms), len(elements), machine.get_number_of_features()))
    # A few at a time: the spectra of single atoms are large and only their sums are kept.
    step = 64 * workers
    for start in range(0, len(atoms), step):
        part = atoms[start : start + step]
        found = machine.create(part, n_jobs=min(workers, len(part)))
        spectra = [found] if len(part) == 1 else found
        for place, (one, its) in enumerate(zip(part, spectra, strict=True), start=start):
            for column, element in enumerate(elements):
                values[place, column] = its[one.numbers == element].sum(axis=0) / len(one)
    return values.reshape(len(atoms), -1)


def _ids(sets: Sequence[Configurations]) -> tuple[str, ...]:
    return tuple(sample for item in sets for sample in item.ids)


def _per_crystal(item: Configurations, values: FloatArray) -> FloatArray:
    """Return the sum over the atoms of each crystal, shape (n, …)."""
    return np.asarray(np.add.reduceat(values, item.offsets[:-1], axis=0))


def _fractions(item: Configurations, elements: FloatArray) -> FloatArray:
    counts = _per_crystal(item, (item.numbers[:, None] == elements).astype(np.float64))
    return counts / np.diff(item.offsets)[:, None]


def _volumes(item: Configurations) -> FloatArray:
    return np.abs(np.linalg.det(item.cells_A)) / np.diff(item.offsets)


def _mean_squares(item: Configurations, elements: FloatArray) -> FloatArray:
    sizes = np.diff(item.offsets)
    shift = _per_crystal(item, item.displacements_A) / sizes[:, None]
    square = ((item.displacements_A - np.repeat(shift, sizes, axis=0)) ** 2).sum(axis=1)
    member = (item.numbers[:, None] == elements).astype(np.float64)
    total, count = _per_crystal(item, member * square[:, None]), _per_crystal(item, member)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.where(np.isnan(total), np.nan, 0.0)))
