"""PBEsol labels of random rows of ag3sx-gfn1, and how the cheap labels compare with them.

Two datasets: ag3sx-pbesol (energies and band edges) and ag3sx-pbesol-forces (energies, stress and forces of the first
of these rows, at tighter integrals).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ag3sx_rows import END_MEMBERS, HERE, SEED, all_sets, end_member, picked

import phonograph as pg
from phonograph.console import Console
from phonograph.labels.symmetry import symmetry_test
from phonograph.streams import derive_seed
from phonograph.types import Configurations, Dataset, Labels


def pbesol() -> Any:
    """Return the engine of ag3sx-pbesol: energies and edges only.

    Without smearing rows of small gap need 40 steps or never converge; with it all take 11 to 15.
    """
    return pg.Cp2kLabeller(
        cutoff_Ry=250.0,
        rel_cutoff_Ry=40.0,
        eps_default=1e-7,
        smearing_K=100.0,
        mixing=0.4,
        eps_scf=3e-5,
        manifolds=(6, 0),
        provides=("energy_eV_per_atom", "band_gap_eV", "vbm_eV", "cbm_eV", "vbm_mean_eV"),
        provides_arrays=(),
    )


def pbesol_forces() -> Any:
    """Return the engine of ag3sx-pbesol-forces; energies are of second order in what is left to converge."""
    return replace(
        pbesol(),
        manifolds=(0, 0),
        provides=("energy_eV_per_atom", "hydrostatic_stress_GPa"),
        provides_arrays=("forces_eV_per_A", "stress_GPa"),
    )


@dataclass(frozen=True)
class Subset:
    """A dataset of rows of ag3sx-gfn1 that are labelled with DFT as well."""

    prefix: str
    rows: int
    engine: Callable[[], Any]
    store: str
    card: Path


SUBSETS = {
    "ag3sx-pbesol": Subset("pbesol", 300, pbesol, "pbesol.sqlite", HERE / "ag3sx" / "card-pbesol.md"),
    "ag3sx-pbesol-forces": Subset(
        "forces", 60, pbesol_forces, "pbesol-forces.sqlite", HERE / "ag3sx" / "card-pbesol-forces.md"
    ),
}
"""Half of the rows thermal, half random, in a random order that SEED fixes; all subsets take its first rows."""

FROM = ("thermal", "random")


def chosen_rows(subset: Subset, count: int) -> tuple[list[Configurations], list[str]]:
    """Return the first ``count`` rows of ``subset``, as two sets, and the row of ag3sx-gfn1 that each one is.

    Thermal and random rows take turns, each in a random order that SEED fixes.
    """
    sets, rows = [], []
    for place, source in enumerate(s for s in all_sets() if s.name in FROM):
        order = np.random.default_rng(derive_seed(SEED, "ag3sx-pbesol", source.name)).permutation(len(source))
        chosen = [int(row) for row in order[: (count + 1 - place) // len(FROM)]]
        sets.append(picked(f"{subset.prefix}-{source.name}", [(source, row) for row in chosen]))
        rows += [source.ids[row] for row in chosen]
    return sets, rows


def in_turn(sets: Sequence[Configurations]) -> Configurations:
    """Return the subset in the order in which it is computed: a run that is stopped has as many of either set."""
    order = sorted((i, s) for s, one in enumerate(sets) for i in range(len(one)))
    return picked("pbesol", [(sets[s], i) for i, s in order])


def label_with_dft(subset: Subset, output: Path, count: int, workers: int) -> Labels:
    """Label the first ``count`` rows of the subset with PBEsol; what the store holds is not computed again."""
    sets, _ = chosen_rows(subset, count)
    with Console() as console:
        return pg.label(
            [in_turn(sets)],
            [subset.engine()],
            output / subset.store,
            workers=workers,
            timeout_s=3600.0,
            progress=console.progress,
            say=console.say,
        )


def symmetry(subset: Subset) -> int:
    """Test the settings on both end members, 40 atoms; print every law and return 1 where one is broken."""
    results = [symmetry_test(subset.engine(), end_member(fraction)) for fraction in END_MEMBERS.values()]
    for result in results:
        print(result.sentence)
        for check in result.checks:
            print(f"  {check.name}: {check.found:.2g} {check.unit} (allowed {check.tolerance:.2g})")
    return 0 if all(result.passed for result in results) else 1


COMPARED = """## Against the cheap labels

Each row's labels in ag3sx-gfn1 beside those here. r is Pearson's, of all rows (not for energies, whose zero differs
between compositions) and of rows about the mean of their composition; of the latter also the slope of PBEsol on the
cheap label, and the standard deviations of PBEsol and of what the cheap label leaves of it."""


def compare(dft: Dataset) -> str:
    """Return how the cheap labels of the subset compare with PBEsol, as a table.

    Per set and property: n; Pearson r of all rows (not for energies, whose zero differs between compositions) and of
    rows about the mean of their composition; of the latter also the slope of PBEsol on the cheap label, and the
    standard deviations of PBEsol and of what the cheap label leaves of it.
    """
    lines = [
        "| set | property | cheap engine | n | r | r at fixed composition | slope | sd of PBEsol | sd left |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for s in dft.sets:
        for name, engine, unit, ours, theirs, groups in both(dft, s, pg.load_dataset("ag3sx-gfn1")):
            known = np.isfinite(ours) & np.isfinite(theirs)
            y, x, kind = ours[known], theirs[known], groups[known]
            whole = "" if name.startswith("energy") else f"{np.corrcoef(x, y)[0, 1]:.3f}"
            y, x = (values - group_means(values, kind) for values in (y, x))
            slope = float(x @ y / (x @ x))
            free = len(y) - len(set(kind))
            spread, left = (float(np.sqrt((values @ values) / free)) for values in (y, y - slope * x))
            lines.append(
                f"| {s.name.split('-', 1)[1]} | `{name}` | {engine.split(maxsplit=1)[0]} | {len(y)} | {whole} | "
                f"{np.corrcoef(x, y)[0, 1]:.3f} | {slope:.2f} | {spread:.4f} | {left:.4f} {unit} |"
            )
    return "\n".join(lines)


def both(dft: Dataset, s: Configurations, cheap: Dataset) -> Iterator[tuple[str, str, str, Any, Any, Any]]:
    """Yield name, engine and unit of every property of ``s``, its values here and in ``cheap``, and their compositions.

    Of forces every component of every atom is a value.
    """
    rows = [place for place, name in enumerate(dft.labels.set_names) if name == s.name]
    sources = [dft.source[place] for place in rows]
    for column in dft.labels.columns:
        other = cheap.labels.column(column.name)
        theirs = cheap.labels.aligned(column.name, sources)
        yield column.name, other.engine, column.unit, column.values[rows], theirs, s.fraction
    if "forces_eV_per_A" in dft.arrays:
        places = [cheap.labels.sample_ids.index(name) for name in sources]
        ours, theirs = (data.arrays["forces_eV_per_A"].reshape(len(data), -1) for data in (dft, cheap))
        kinds = np.repeat(s.fraction, ours.shape[1])
        engine = cheap.labels.column("energy_eV_per_atom").engine
        yield "forces_eV_per_A", engine, "eV/Å", ours[rows].ravel(), theirs[places].ravel(), kinds


def group_means(values: Any, groups: Any) -> Any:
    """Return, for each value, the mean over its group."""
    _, place = np.unique(groups, return_inverse=True)
    return (np.bincount(place, values) / np.bincount(place))[place]
