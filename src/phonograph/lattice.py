"""Normal modes of a supercell and the Gaussian law of their displacements: maths only, shared by rooms 1 and 2.

All commensurate wave vectors of the primitive lattice fold to Γ of the supercell, so the real symmetric
dynamical matrix of the supercell holds every mode that the cell can show, for any supercell matrix.

Symbols: Φ ``values_eV_per_A2``, M ``masses_amu``, e ``vectors``, ν ``frequencies_THz``, σ² ``mode_variance``.
Source: Born & Huang, Dynamical Theory of Crystal Lattices (1954), chapter IV; Maradudin et al., Theory of
Lattice Dynamics in the Harmonic Approximation (1971).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from phonograph import units
from phonograph.errors import PhysicsError
from phonograph.translations import Cells, WaveProduct, expanded, translated_blocks, unit_cells, wave_blocks, waves_of
from phonograph.types import FloatArray, ForceConstants

STATISTICS = ("quantum", "classical")


@dataclass(frozen=True, kw_only=True, eq=False)
class Modes:
    """The 3n − 3 vibrations of a supercell; the three rigid translations are projected out.

    Attributes
    ----------
    frequencies_THz
        Ascending, shape (3n − 3,); negative values stand for imaginary frequencies.
    vectors
        Orthonormal mass-weighted eigenvectors as columns, shape (3n, 3n − 3).
    masses_amu
        Shape (n,).
    cells
        The unit cells whose translations leave force constants and masses unchanged; None where that is not known.
    """

    frequencies_THz: FloatArray
    vectors: FloatArray
    masses_amu: FloatArray
    cells: Cells | None = None

    @cached_property
    def atom_shares(self) -> FloatArray:
        """|e_i|²/m_i of each atom in each mode, 1/amu, shape (n, 3n − 3); times ⟨Q²⟩ it is ⟨u_i²⟩ of that mode."""
        size = len(self.masses_amu)
        by_mode = self.vectors.T.reshape(-1, size, 3)
        return np.asarray(np.einsum("kia,kia->ik", by_mode, by_mode) / self.masses_amu[:, None])

    @property
    def largest_share(self) -> FloatArray:
        """Per mode: largest |e_i|/√m_i over atoms, 1/√amu; times σ it is the largest rms displacement of an atom."""
        return np.sqrt(self.atom_shares.max(axis=0))


def dynamical_matrix(values_eV_per_A2: FloatArray, masses_amu: FloatArray) -> FloatArray:
    """Return D = M^(−1/2) Φ M^(−1/2), symmetrised, eV Å⁻² amu⁻¹, shape (3n, 3n)."""
    size = len(masses_amu)
    flat = values_eV_per_A2.transpose(0, 2, 1, 3).reshape(3 * size, 3 * size)
    root = np.sqrt(np.repeat(masses_amu, 3))
    matrix = flat / np.outer(root, root)
    return 0.5 * (matrix + matrix.T)


def normal_modes(values_eV_per_A2: FloatArray, masses_amu: FloatArray) -> Modes:
    """Diagonalise the supercell's dynamical matrix in the space orthogonal to rigid translations.

    Translations are removed by projection; dropping the three lowest eigenvalues would delete imaginary modes.

    Parameters
    ----------
    values_eV_per_A2
        Full force constants, eV/Å², shape (n, n, 3, 3).
    masses_amu
        Shape (n,).
    """
    eigenvalues, vectors = _vibrations(dynamical_matrix(values_eV_per_A2, masses_amu), masses_amu)
    return Modes(frequencies_THz=_frequencies(eigenvalues), vectors=vectors, masses_amu=masses_amu)


def crystal_modes(constants: ForceConstants) -> Modes:
    """Return :func:`normal_modes` of a supercell, wave vector by wave vector where its translations allow that.

    Force constants and masses that the translations of the unit cell leave unchanged (to 1e-11 of the largest) give
    N blocks of 3p rows instead of one matrix of 3pN rows; anything else, such as a solid solution, is diagonalised
    whole.  Both ways give the same modes.
    """
    masses = constants.supercell.masses_amu
    cells = unit_cells(constants.unitcell, constants.supercell_matrix, constants.supercell)
    blocks = None
    if cells is not None and len(cells.atoms) > 1 and (masses[cells.atoms] == masses[cells.atoms[0]]).all():
        blocks = translated_blocks(constants.values_eV_per_A2, cells)
    if cells is None or blocks is None:
        return normal_modes(constants.values_eV_per_A2, masses)
    return _modes_by_wave(blocks, masses, cells)


def _vibrations(matrix: FloatArray, masses_amu: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues and eigenvectors of a real dynamical matrix without the three rigid translations.

    The translations T are projected out and then lifted above all vibrations, D' = PDP + c TTᵀ, so that they are
    the last three eigenvectors, however many modes are imaginary.
    """
    translations = np.kron(np.sqrt(masses_amu / masses_amu.sum())[:, None], np.eye(3))
    across = matrix @ translations
    inner = translations.T @ across
    lifted = 2.0 * float(np.abs(matrix).sum(axis=1).max()) + 1.0
    changed = (translations @ (inner + lifted * np.eye(3)) - across) @ translations.T
    projected = matrix + changed - translations @ across.T
    eigenvalues, vectors = np.linalg.eigh(0.5 * (projected + projected.T))
    return eigenvalues[:-3], vectors[:, :-3]


def _modes_by_wave(blocks: FloatArray, masses_amu: FloatArray, cells: Cells) -> Modes:
    waves = waves_of(cells)
    own = masses_amu[cells.atoms[0]]
    root = np.sqrt(np.repeat(own, 3))
    cosine, sine = (part / np.outer(root, root) for part in wave_blocks(blocks, waves))
    matrices = 0.5 * (cosine + cosine.transpose(0, 2, 1)) + 0.5j * (sine - sine.transpose(0, 2, 1))
    # Γ first: only there can a rigid translation be.
    at_gamma, first = _vibrations(matrices[0].real, own)
    rest, real = np.linalg.eigh(matrices[1 : waves.single].real)
    paired, waving = np.linalg.eigh(matrices[waves.single :])
    eigenvalues = np.concatenate([at_gamma, rest.ravel(), np.repeat(paired.ravel(), 2)])
    order = np.argsort(eigenvalues, kind="stable")
    vectors = np.empty((len(order), 3 * len(masses_amu)))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    rows = np.argsort(cells.coordinates.ravel())
    start = 0
    for made in _real_vectors(waves.table, waves.single, [first, *real], waving):
        vectors[rank[start : start + len(made)]] = made.reshape(len(made), len(rows))[:, rows]
        start += len(made)
    return Modes(
        frequencies_THz=_frequencies(eigenvalues[order]), vectors=vectors.T, masses_amu=masses_amu, cells=cells
    )


def _real_vectors(
    table: FloatArray, single: int, real: list[FloatArray], waving: NDArray[np.complex128]
) -> Iterator[FloatArray]:
    """Yield the modes of each wave vector as (modes, N, 3p): e cos, and Re and i Im of e for a pair ±q."""
    for wave, vectors in zip(table[:single], real, strict=True):
        yield wave[None, :, None] * vectors.T[:, None, :]
    for cosine, sine, vectors in zip(table[single::2], table[single + 1 :: 2], waving, strict=True):
        turned = np.stack([vectors.T, 1j * vectors.T], axis=1).reshape(-1, 1, len(vectors))
        yield cosine[:, None] * turned.real + sine[:, None] * turned.imag


def _frequencies(eigenvalues: FloatArray) -> FloatArray:
    return np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * units.THZ_PER_SQRT_EV_PER_A2_AMU


def mode_variance(frequencies_THz: FloatArray, temperature_K: float, statistics: str) -> FloatArray:
    """Return ⟨Q²⟩ of each mode, amu Å².

    Quantum: (ħ/2ω) coth(ħω/2kT), which is ħ/2ω at T = 0; classical: kT/ω².

    Parameters
    ----------
    frequencies_THz
        Positive frequencies.
    temperature_K
        At least 0.
    statistics
        ``"quantum"`` or ``"classical"``.
    """
    if statistics not in STATISTICS:
        raise PhysicsError(f"statistics must be 'quantum' or 'classical'; got {statistics!r}")
    if not temperature_K >= 0:
        raise PhysicsError(f"the temperature must be at least 0 K; got {temperature_K!r}")
    if (np.asarray(frequencies_THz) <= 0).any():
        raise PhysicsError("mode variances need positive frequencies; treat soft modes by a policy first")
    omega = 2.0e12 * np.pi * np.asarray(frequencies_THz, dtype=np.float64)
    if statistics == "classical":
        return units.BOLTZMANN_EV_PER_K * temperature_K / omega**2 * units.AMU_A2_PER_EV_S2
    zero_point = units.HBAR_EV_S / (2.0 * omega) * units.AMU_A2_PER_EV_S2
    return zero_point * (1.0 + 2.0 * bose_einstein(frequencies_THz, temperature_K))


def bose_einstein(frequencies_THz: FloatArray, temperature_K: float) -> FloatArray:
    """Return n = 1/(exp(ħω/kT) − 1) per mode; 0 at T = 0.  Uses expm1, exact for small arguments."""
    energy = units.EV_PER_THZ * np.asarray(frequencies_THz, dtype=np.float64)
    if temperature_K == 0:
        return np.zeros_like(energy)
    return 1.0 / np.expm1(np.minimum(energy / (units.BOLTZMANN_EV_PER_K * temperature_K), 700.0))


def displacement_root(modes: Modes, variance_amu_A2: FloatArray) -> FloatArray:
    """Return S, Å, shape (3n, 3n), with u = S z Gaussian of covariance C = S Sᵀ = M^(−1/2) e σ² eᵀ M^(−1/2).

    S = M^(−1/2) e σ eᵀ uses the symmetric square root, so it does not depend on the phases or the mixing of
    degenerate eigenvectors that the eigensolver happened to choose.
    """
    return _whole(modes, np.sqrt(variance_amu_A2)) / np.sqrt(np.repeat(modes.masses_amu, 3))[:, None]


def displacement_product(modes: Modes, variance_amu_A2: FloatArray) -> Callable[[FloatArray, FloatArray], None]:
    """Return a function of (z, u) that writes z Sᵀ into u, both (samples, 3n), S that of :func:`displacement_root`.

    Large supercells with translations are multiplied wave vector by wave vector, without S itself.
    """
    if modes.cells is None or not _by_wave_pays(*modes.cells.atoms.shape):
        transposed = np.ascontiguousarray(displacement_root(modes, variance_amu_A2).T)

        def product(vectors: FloatArray, out: FloatArray) -> None:
            np.matmul(vectors, transposed, out=out)

        return product
    columns = _first_columns(modes, np.sqrt(variance_amu_A2), modes.cells)
    return WaveProduct(columns / np.sqrt(np.repeat(modes.masses_amu, 3))[:, None], modes.cells)


def _by_wave_pays(cells: int, sites: int) -> bool:
    # Multiplications per coordinate: 3pN of the whole matrix, 2N + 6p of waves, blocks and waves back; small
    # matrices are faster whole because they need one call.
    return 3 * sites * cells > max(400, 2 * (2 * cells + 6 * sites))


def covariance(modes: Modes, variance_amu_A2: FloatArray) -> FloatArray:
    """Return the displacement covariance C = M^(−1/2) e σ² eᵀ M^(−1/2), Å², shape (3n, 3n)."""
    root = np.sqrt(np.repeat(modes.masses_amu, 3))
    whole = _whole(modes, variance_amu_A2)
    whole /= root[:, None]
    whole /= root
    return whole


def _whole(modes: Modes, diagonal: FloatArray) -> FloatArray:
    """Return e diag eᵀ, shape (3n, 3n)."""
    if modes.cells is None:
        return np.asarray((modes.vectors * diagonal) @ modes.vectors.T)
    return expanded(_first_columns(modes, diagonal, modes.cells), modes.cells)


def _first_columns(modes: Modes, diagonal: FloatArray, cells: Cells) -> FloatArray:
    """Return the columns of e diag eᵀ that belong to cell 0, shape (3n, 3p)."""
    return np.asarray(modes.vectors @ (diagonal[:, None] * modes.vectors[cells.coordinates[0]].T))


def harmonic_energy(values_eV_per_A2: FloatArray, displacements_A: FloatArray) -> FloatArray:
    """Return ½ uᵀ Φ u of each sample, eV; ``displacements_A`` has shape (samples, n, 3)."""
    count, size = displacements_A.shape[:2]
    flat = displacements_A.reshape(count, 3 * size)
    matrix = values_eV_per_A2.transpose(0, 2, 1, 3).reshape(3 * size, 3 * size)
    return 0.5 * np.einsum("si,si->s", flat @ matrix, flat)


def free_energy(frequencies_THz: FloatArray, temperature_K: float, statistics: str) -> float:
    """Return the harmonic free energy of the modes, eV (per supercell).

    Quantum: Σ ħω/2 + kT ln(1 − e^(−ħω/kT)); classical: Σ kT ln(ħω/kT).
    """
    energy = units.EV_PER_THZ * np.asarray(frequencies_THz, dtype=np.float64)
    thermal = units.BOLTZMANN_EV_PER_K * temperature_K
    if statistics == "classical":
        return float((thermal * np.log(energy / thermal)).sum()) if temperature_K > 0 else 0.0
    if temperature_K == 0:
        return float(0.5 * energy.sum())
    return float((0.5 * energy + thermal * np.log(-np.expm1(-energy / thermal))).sum())
