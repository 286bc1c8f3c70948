"""Items about structures alone or with their labels: Figures S3, S9, S10, S11 and 3."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phonograph.errors import DataError
from phonograph.report.words import fixed, number, percent
from phonograph.steps.paper.data import COMBINED, PHONON, RANDOM, PaperData, pair_distances, vectors
from phonograph.steps.paper.distributions import correlation, distances, grouped_histograms, overlap, share
from phonograph.steps.paper.published import PAIRS, TARGETS, UNITS, WORDS
from phonograph.steps.paper.verdicts import exactly, with_bound, without
from phonograph.types import ZERO_GAP_EV, Configurations, Crystal, FloatArray
from phonograph.types.curves import Interval
from phonograph.types.paper import Comparison, PaperItem, PaperTable

NEARLY_IDENTICAL = 0.90
"""Distributions are called nearly identical from this overlap on."""

SUBSTANTIALLY_DIFFERENT = 0.75
"""Distributions are called substantially different up to this overlap."""

GRAPH_CUTOFF_A, DISTANCE_LIMIT_A, DISTANCE_BINS = 5.5, 6.0, 120
HIGH_QUANTILE = 0.99


def pair_distribution(crystal: Crystal) -> PaperItem:
    """Return Figure S3: distances of every species pair of the equilibrium crystal up to 6 Å, and the first shells."""
    item = Configurations.of_crystals("equilibrium", [crystal], ["0"])
    counts, _ = pair_distances(item, PAIRS, DISTANCE_LIMIT_A, 6000)
    centres = (np.arange(6000) + 0.5) * DISTANCE_LIMIT_A / 6000
    comparisons, rows, arrays = [], [], {}
    for pair in PAIRS:
        found = np.flatnonzero(counts[pair][0])
        if not len(found):
            raise DataError(
                f"the crystal has no {pair} pair within {DISTANCE_LIMIT_A:g} Å; paper.crystal must be Ag3SBr"
            )
        arrays[f"{pair}.distance_A"], arrays[f"{pair}.count"] = centres[found], counts[pair][0][found]
        first = float(centres[found[0]])
        comparisons.append(
            with_bound(
                f"s3.{pair}",
                exactly(first),
                n=int(counts[pair][0][found[0]]),
                n_of="directed bonds",
                at_most=GRAPH_CUTOFF_A,
                unit="Å",
                headline=pair == "Ag-S",
            )
        )
        inside = centres[found][centres[found] < GRAPH_CUTOFF_A]
        rows.append((pair.replace("-", "–"), fixed(first, 2), len(inside), ", ".join(fixed(d, 2) for d in inside)))
    edge = [d for pair in PAIRS for d in arrays[f"{pair}.distance_A"] if 0 < GRAPH_CUTOFF_A - d < 0.25]
    near = f"; {fixed(max(edge), 2)} Å is the shell nearest to it, within thermal motion of being cut" if edge else ""
    return PaperItem(
        key="s3",
        title="Pair distances of the equilibrium crystal",
        comparisons=tuple(comparisons),
        sentences=(f"First shells of all six pairs of {crystal.formula} against the cutoff of 5.5 Å{near}.",),
        tables=(
            PaperTable(
                title="Shells inside the cutoff", head=("pair", "first (Å)", "shells", "all (Å)"), rows=tuple(rows)
            ),
        ),
        arrays=arrays,
    )


def gap_and_amplitude(data: PaperData, seed: int) -> PaperItem:
    """Return Figure S9: the band gap of random cells against the amplitude of their displacements."""
    item = data.set_of(RANDOM)
    gaps = data.labels.aligned("band_gap_eV", item.ids)
    amplitude = _amplitudes(item)
    known = np.isfinite(gaps) & np.isfinite(amplitude)
    if known.sum() < 10:
        raise DataError(f"set {item.name!r} has {known.sum()} gaps with a known amplitude; label its cells first")
    gaps, amplitude = gaps[known], amplitude[known]
    groups = [group for group, has in zip(item.group, known, strict=True) if has]
    r = correlation(amplitude, gaps, groups, seed)
    steps = np.unique(amplitude)
    chosen = [amplitude == a for a in steps]
    gapped = [share(int((gaps[here] > ZERO_GAP_EV).sum()), int(here.sum())) for here in chosen]
    worst = int(np.argmin([part.value for part in gapped]))
    rows = tuple(
        (f"{a:g}", int(here.sum()), number(gaps[here].mean()), number(gaps[here].std()), percent(1 - part.value))
        for a, here, part in zip(steps, chosen, gapped, strict=True)
    )
    at_worst = f"{percent(gapped[worst].value)} of the cells have a gap at {steps[worst]:g} Å, fewest of all amplitudes"
    if gapped[worst].value == 1.0:
        at_worst = "every random cell has a gap"
    return PaperItem(
        key="s9",
        title="Band gap against the amplitude of random displacements",
        comparisons=(
            with_bound(
                "s9.insulating",
                gapped[worst],
                n=int(chosen[worst].sum()),
                n_of=f"cells at {steps[worst]:g} Å",
                at_least=0.5,
                otherwise=f"only {at_worst}",
                headline=True,
            ),
            without(
                "s9.correlation",
                "the paper prints no number",
                ours=r,
                n=len(gaps),
                n_of="cells",
                headline=True,
            ),
        ),
        sentences=(
            f"The amplitude alone explains {percent(r.value**2)} of the variance of the gap (r = {fixed(r.value, 2)}); "
            f"{at_worst}. Zero gaps are counted, not dropped.",
        ),
        tables=(
            PaperTable(
                title="Gap by amplitude", head=("a (Å)", "cells", "mean gap (eV)", "sd (eV)", "zero gaps"), rows=rows
            ),
        ),
        arrays={"amplitude_A": amplitude, "gap_eV": gaps},
        seeds=(seed,),
    )


def _amplitudes(item: Configurations) -> FloatArray:
    """Return the amplitude a of Eq. 2 of each configuration, Å; √3 times the rms coordinate where it is not known."""
    if np.isfinite(item.amplitude_A).any():
        return item.amplitude_A
    rms: FloatArray = np.sqrt((vectors(item) ** 2).mean(axis=1))
    return np.round(np.sqrt(3.0) * rms, 1)


def label_distributions(data: PaperData, seed: int) -> PaperItem:
    """Return Figure S10: distributions of the four targets in phonon, random and combined cells."""
    comparisons: list[Comparison] = []
    rows: list[tuple[str | float, ...]] = []
    arrays: dict[str, FloatArray] = {}
    for place, target in enumerate(TARGETS):
        (first, groups), (second, others) = data.values(PHONON, target), data.values(RANDOM, target)
        arrays[f"{target}.{PHONON}"], arrays[f"{target}.{RANDOM}"] = first, second
        samples = {PHONON: (first, groups), RANDOM: (second, others)}
        samples[COMBINED] = (np.concatenate([first, second]), (*groups, *others))
        for one, other in ((PHONON, RANDOM), (PHONON, COMBINED), (RANDOM, COMBINED)):
            a, b = samples[one], samples[other]
            histograms, _ = grouped_histograms([a[0], b[0]], [a[1], b[1]])
            found = overlap(histograms[0], histograms[1], seed + place)
            ks, moved = distances(a[0], b[0], (a[1], b[1]), seed + place)
            rows.append((WORDS[target], f"{one}, {other}", *map(_interval, (found.interval, ks, moved)), UNITS[target]))
            if other == RANDOM:
                comparisons.append(_alike(target, found.interval, len(first) + len(second)))
    comparisons.append(_high_energies(arrays))
    counts = tuple(_zero_gaps(role, arrays[f"band_gap_eV.{role}"]) for role in (PHONON, RANDOM))
    return PaperItem(
        key="s10",
        title="Distributions of the four targets",
        comparisons=tuple(comparisons),
        sentences=(
            f"Overlap 1 means one distribution; from {NEARLY_IDENTICAL} on two are called nearly identical, up to "
            f"{SUBSTANTIALLY_DIFFERENT} substantially different.",
            "The combined set is the phonon and the random set together, so it overlaps with each more than they do "
            "with each other: phonon against random decides.",
        ),
        tables=(
            PaperTable(
                title="How alike the sets are",
                head=("target", "sets", "overlap", "Kolmogorov–Smirnov", "earth mover's", "unit"),
                rows=tuple(rows),
            ),
            PaperTable(title="Zero gaps", head=("set", "cells", "zero gaps", "share"), rows=counts),
        ),
        arrays=arrays,
        seeds=(seed,),
    )


def _alike(target: str, found: Interval, n: int) -> Comparison:
    key = f"s10.{target}"
    if target == "vbm_eV":
        return without(key, "the paper's text says nothing", ours=found, n=n, n_of="cells")
    if target == "band_gap_eV":
        return with_bound(
            key,
            found,
            n=n,
            n_of="cells",
            at_least=NEARLY_IDENTICAL,
            otherwise=f"they overlap by {fixed(found.value, 2)} only",
            headline=True,
        )
    return with_bound(
        key,
        found,
        n=n,
        n_of="cells",
        at_most=SUBSTANTIALLY_DIFFERENT,
        otherwise=f"they overlap by {fixed(found.value, 2)}",
        headline=target == "energy_eV_per_atom",
    )


def _high_energies(arrays: Mapping[str, FloatArray]) -> Comparison:
    limit = float(np.quantile(arrays[f"energy_eV_per_atom.{PHONON}"], HIGH_QUANTILE))
    energies = arrays[f"energy_eV_per_atom.{RANDOM}"]
    found = share(int((energies > limit).sum()), len(energies))
    return with_bound("s10.high-energy", found, n=len(energies), n_of="random cells", at_least=0.10, headline=True)


def _zero_gaps(role: str, gaps: FloatArray) -> tuple[str | float, ...]:
    zero = int((gaps <= ZERO_GAP_EV).sum())
    return role, len(gaps), zero, _interval(share(zero, len(gaps)))


def _interval(found: Interval) -> str:
    return f"{number(found.value, 2)} [{number(found.low, 2)}, {number(found.high, 2)}]"


def pair_distance_distributions(data: PaperData, seed: int) -> PaperItem:
    """Return Figure S11: distances of every species pair below 6 Å in phonon and in random cells."""
    aliases = {"I": "Br", "Cl": "Br"}
    sets = {role: data.set_of(role) for role in (PHONON, RANDOM)}
    found = {role: pair_distances(item, PAIRS, DISTANCE_LIMIT_A, DISTANCE_BINS, aliases) for role, item in sets.items()}
    comparisons, rows = [], []
    arrays: dict[str, FloatArray] = {"edges_A": np.linspace(0.0, DISTANCE_LIMIT_A, DISTANCE_BINS + 1)}
    for pair in PAIRS:
        first, second = (found[role][0][pair] for role in (PHONON, RANDOM))
        alike = overlap(first, second, seed)
        arrays[f"{pair}.{PHONON}"], arrays[f"{pair}.{RANDOM}"] = first.sum(axis=0), second.sum(axis=0)
        rows.append((pair.replace("-", "–"), _interval(alike.interval), number(alike.ceiling, 3)))
        comparisons.append(
            with_bound(
                f"s11.{pair}",
                alike.interval,
                n=len(first) + len(second),
                n_of="cells",
                at_least=NEARLY_IDENTICAL,
                otherwise=f"they overlap by {fixed(alike.interval.value, 2)} only",
                headline=pair == "Ag-S",
            )
        )
    shortest = {role: float(found[role][1].min()) for role in (PHONON, RANDOM)}
    comparisons.append(
        with_bound(
            "s11.short",
            exactly(shortest[RANDOM]),
            n=len(sets[RANDOM]),
            n_of="random cells",
            at_most=0.1,
            unit="Å",
            otherwise=f"the shortest is {fixed(shortest[RANDOM], 2)} Å",
            headline=True,
        )
    )
    return PaperItem(
        key="s11",
        title="Distances of the species pairs",
        comparisons=tuple(comparisons),
        sentences=(
            f"Shortest distance of two atoms: {fixed(shortest[PHONON], 2)} Å in phonon and "
            f"{fixed(shortest[RANDOM], 2)} Å in random cells. Iodine counts as bromine, whose site it shares.",
        ),
        tables=(
            PaperTable(
                title="How alike the distances are",
                head=("pair", "overlap", "of two halves of one law"),
                rows=tuple(rows),
            ),
        ),
        arrays=arrays,
        seeds=(seed,),
    )


def configuration_space(data: PaperData, above: Mapping[str, FloatArray], how: str, seed: int) -> PaperItem:
    """Return Figure 3c from data: where phonon and random cells lie, and how far above equilibrium.

    Parameters
    ----------
    data
        Sets with displacements.
    above
        Part → energy of each configuration above that of its atoms at rest, eV/atom, shape (n,); NaN where unknown.
    how
        How the energies at rest were obtained, in words.
    seed
        Kept with the result.
    """
    both = {role: vectors(data.set_of(role)) for role in (PHONON, RANDOM)}
    phonon = both[PHONON]
    _, singular, axes = np.linalg.svd(phonon - phonon.mean(axis=0), full_matrices=False)
    explained = (singular**2 / (singular**2).sum())[:2]
    arrays = {}
    for role, displaced in both.items():
        known = np.isfinite(above[role])
        along = (displaced - phonon.mean(axis=0)) @ axes[:2].T
        arrays[f"{role}.first_A"], arrays[f"{role}.second_A"] = along[known].T
        arrays[f"{role}.energy_eV_per_atom"] = above[role][known]
    limit = float(np.quantile(arrays[f"{PHONON}.energy_eV_per_atom"], HIGH_QUANTILE))
    energies = arrays[f"{RANDOM}.energy_eV_per_atom"]
    outside = share(int((energies > limit).sum()), len(energies))
    item = data.set_of(RANDOM)
    amplitude = _amplitudes(item)[np.isfinite(above[RANDOM])]
    rows = tuple(
        (f"{a:g}", int(here.sum()), number(energies[here].mean()), percent(float((energies[here] > limit).mean())))
        for a in np.unique(amplitude)
        for here in [amplitude == a]
    )
    arrays["limit_eV_per_atom"] = np.array([limit])
    return PaperItem(
        key="fig3",
        title="Configuration space of phonon and random cells",
        comparisons=(
            with_bound(
                "fig3.outside",
                outside,
                n=len(energies),
                n_of="random cells",
                at_least=0.5,
                otherwise=f"{percent(outside.value)} of them lie outside",
                headline=True,
            ),
        ),
        sentences=(
            f"Thermally accessible: up to the 99th percentile of the phonon cells' energy above equilibrium, "
            f"{number(1000 * limit)} meV/atom ({how}).",
            *_below(arrays[f"{PHONON}.energy_eV_per_atom"]),
            f"Axes: the first two principal components of the phonon cells' displacements ({percent(explained[0])} and "
            f"{percent(explained[1])} of their variance). The paper's panel is a sketch; this one is computed.",
        ),
        tables=(
            PaperTable(
                title="Random cells by amplitude",
                head=("a (Å)", "cells", "mean energy above equilibrium (eV/atom)", "outside"),
                rows=rows,
            ),
        ),
        arrays=arrays,
        seeds=(seed,),
    )


def _below(energies: FloatArray) -> tuple[str, ...]:
    count = int((energies < 0).sum())
    if not count:
        return ()
    words = "one phonon cell lies below its atoms" if count == 1 else f"{count} phonon cells lie below their atoms"
    return (f"{words[0].upper()}{words[1:]} at rest: the sites are no minimum of this potential.",)
