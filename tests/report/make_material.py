"""A plausible run on cubic Ag3SBr, made from the value types alone: springs, Gaussian samples, noisy predictions.

No engine runs here.  The numbers look like those of a real run, so that the report can be looked at; they are
not results.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from phonograph.lattice import displacement_root, mode_variance, normal_modes
from phonograph.phonons.audit import audit
from phonograph.phonons.properties import phonon_properties
from phonograph.report import ReportMaterial
from phonograph.sampling import certify
from phonograph.types import (
    BondImportance,
    Certificate,
    Configurations,
    Crystal,
    Epoch,
    Evaluation,
    Explanation,
    Fidelity,
    Fitted,
    ForceConstants,
    GraphSpec,
    InputScaling,
    LabelColumn,
    Labels,
    Metric,
    Origin,
    Phonons,
    Predictions,
    RenormalisationRound,
    Spectrum,
    Split,
    Study,
    StudyRow,
    TargetScaling,
    ThermalCurve,
    ThermalPoint,
)
from phonograph.units import THZ_PER_SQRT_EV_PER_A2_AMU

A = 4.90
SITES = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 0]])
NUMBERS = np.array([47, 47, 47, 16, 35])
SETS = ("phonon", "random", "matched", "eq3")
COLLECTIONS = ("phonon", "random", "combined")
CONFIG = """# resolved configuration
title = "Ag3SBr"
seed = 0

[crystal]
file = "Ag3SBr.vasp"
supercell = [2, 2, 2]

[[sampling.sets]]
name = "phonon"
sampler = "thermal"
n = 75
"""
IMAGES = np.array(list(itertools.product(range(-2, 3), repeat=3)))
# (species, species, largest distance in Å, longitudinal, transverse) in eV/Å²
STIFF = ((47, 16, 2.6, 3.1, -0.045), (47, 47, 3.6, 0.10, 0.02), (47, 35, 3.6, 0.30, 0.00), (16, 35, 4.4, 0.20, 0.00))
SOFT = ((47, 16, 2.6, 3.3, -0.33), (47, 47, 3.6, 0.10, -0.01), (47, 35, 3.6, 0.40, -0.05), (16, 35, 4.4, 0.20, 0.00))


def unit_cell() -> Crystal:
    return Crystal(cell_A=A * np.eye(3), positions_A=A * SITES, numbers=NUMBERS, title="Ag3SBr cubic, a = 4.90 Å")


def supercell(unit: Crystal) -> Crystal:
    # phonopy's order: the first axis runs fastest.
    shifts = np.array(list(itertools.product((0, 1), repeat=3)))[:, ::-1]
    positions = (unit.positions_A[:, None] + A * shifts[None]).reshape(-1, 3)
    return Crystal(cell_A=2 * A * np.eye(3), positions_A=positions, numbers=np.repeat(NUMBERS, 8))


def pairs(crystal: Crystal, cutoff: float):
    """All (i, j, image) with 0 < distance < cutoff, directed, and their vectors."""
    vectors = (
        crystal.positions_A[None, None] + (IMAGES @ crystal.cell_A)[:, None, None] - crystal.positions_A[None, :, None]
    )
    distance = np.sqrt((vectors**2).sum(-1))
    image, i, j = np.nonzero((distance > 1e-6) & (distance < cutoff))
    return i, j, IMAGES[image], vectors[image, i, j], distance[image, i, j]


def spring_matrices(crystal: Crystal, law):
    i, j, image, vectors, distance = pairs(crystal, 4.5)
    blocks = np.zeros((len(i), 3, 3))
    for first, second, reach, along, across in law:
        kinds = {(first, second), (second, first)}
        match = [(int(crystal.numbers[a]), int(crystal.numbers[b])) in kinds for a, b in zip(i, j, strict=True)]
        chosen = np.array(match) & (distance < reach)
        unit = vectors[chosen] / distance[chosen, None]
        outer = unit[:, :, None] * unit[:, None, :]
        blocks[chosen] = along * outer + across * (np.eye(3) - outer)
    return i, j, image, blocks


def force_constants(unit: Crystal, large: Crystal, law) -> ForceConstants:
    i, j, _, blocks = spring_matrices(large, law)
    values = np.zeros((len(large), len(large), 3, 3))
    np.add.at(values, (i, j), -blocks)
    np.add.at(values, (i, i), blocks)
    return ForceConstants(
        unitcell=unit,
        supercell_matrix=2 * np.eye(3),
        supercell=large,
        values_eV_per_A2=values,
        origin=Origin(room="phonons"),
    )


def frequencies(unit: Crystal, law, q) -> np.ndarray:
    i, j, image, blocks = spring_matrices(unit, law)
    root = np.sqrt(unit.masses_amu)
    matrix = np.zeros((len(unit), len(unit), 3, 3), dtype=complex)
    phase = np.exp(2j * np.pi * image @ q)
    np.add.at(matrix, (i, j), -blocks * phase[:, None, None])
    np.add.at(matrix, (i, i), blocks)
    matrix /= (root[:, None] * root[None, :])[:, :, None, None]
    flat = matrix.transpose(0, 2, 1, 3).reshape(3 * len(unit), -1)
    values = np.linalg.eigvalsh((flat + flat.conj().T) / 2)
    return np.sign(values) * np.sqrt(np.abs(values)) * THZ_PER_SQRT_EV_PER_A2_AMU


def spectrum(unit: Crystal, law, steps: int = 40) -> Spectrum:
    points = {"GAMMA": (0, 0, 0), "X": (0, 0.5, 0), "M": (0.5, 0.5, 0), "R": (0.5, 0.5, 0.5)}
    segments = (("GAMMA", "X", "M", "GAMMA", "R", "X"), ("R", "M"))
    q, distance, ticks, breaks, at = [], [], [], [], 0.0
    for segment in segments:
        if q:
            breaks.append(len(q))
        ticks.append((at, segment[0]))
        for start, stop in itertools.pairwise(segment):
            a, b = np.array(points[start], float), np.array(points[stop], float)
            for share in np.linspace(0, 1, steps):
                q.append(a + share * (b - a))
                distance.append(at + share * np.linalg.norm(b - a) / A)
            at = distance[-1]
            ticks.append((at, stop))
    found = np.array([frequencies(unit, law, point) for point in q])
    return Spectrum(q=q, distance=distance, frequencies_THz=found, ticks=tuple(ticks), breaks=tuple(breaks))


def make_phonons(unit: Crystal) -> Phonons:
    large = supercell(unit)
    stiff, soft = force_constants(unit, large, STIFF), force_constants(unit, large, SOFT)
    after = normal_modes(stiff.values_eV_per_A2, large.masses_amu).frequencies_THz
    before = normal_modes(soft.values_eV_per_A2, large.masses_amu).frequencies_THz
    lowest = (-0.4, -0.15, 0.17, -0.45, -0.8, 0.45, 0.5, 0.17, 0.56, float(after.min()))
    rounds = tuple(
        RenormalisationRound(
            index=k + 1,
            samples=30,
            lowest_THz=value,
            change_THz=1.1 * 0.62**k + 0.045,
            noise_THz=0.16 / np.sqrt(k + 1),
            guarded_share=max(0.14 - 0.03 * k, 0.0),
            effective_fraction=1.0,
            free_energy_eV_per_atom=-0.142 - 0.004 * 0.6**k,
        )
        for k, value in enumerate(lowest)
    )
    error = 0.03 + 0.09 * np.exp(-np.linspace(0, 6, len(after)))
    widths = 0.08 + 0.02 * after + 0.03 * np.sin(7.0 * np.arange(len(after)))
    widths[[2, 40]] = np.nan
    return Phonons(
        force_constants=stiff,
        harmonic=soft,
        method="self-consistent",
        temperature_K=300.0,
        frequencies_THz=after,
        frequency_error_THz=error,
        harmonic_frequencies_THz=before,
        spectrum=spectrum(unit, STIFF),
        harmonic_spectrum=spectrum(unit, SOFT),
        rounds=rounds,
        converged=True,
        warnings=(),
        origin=Origin(room="phonons", settings={"displacement_sensitivity_THz": 0.042}),
        line_widths_THz=widths,
        line_width_errors_THz=0.15 * widths,
        audit=audit(stiff),
        properties=phonon_properties(stiff, mesh=(12, 12, 12)),
    )


SPECIES = (("Ag", 47), ("S", 16), ("Br", 35))


def make_set(name: str, phonons: Phonons, n: int, rng: np.random.Generator) -> Configurations:
    large = phonons.supercell
    size = len(large)
    modes = normal_modes(phonons.force_constants.values_eV_per_A2, large.masses_amu)
    variance = mode_variance(np.maximum(modes.frequencies_THz, 0.6), 300.0, "quantum")
    root = displacement_root(modes, variance)
    rms = np.sqrt((root**2).sum(axis=1)).reshape(size, 3)
    amplitude = np.full(n, np.nan)
    if name == "phonon":
        half = rng.standard_normal((n // 2 + n % 2, 3 * size)) @ root.T
        moves = np.concatenate([half, -half])[:n].reshape(n, size, 3)
        group = [f"pair-{k % len(half)}" for k in range(n)]
    else:
        group = [f"{name}-{k}" for k in range(n)]
        if name == "random":
            amplitude = rng.choice([0.1, 0.2, 0.3, 0.4], n)
            moves = rng.uniform(-1, 1, (n, size, 3)) * amplitude[:, None, None]
        else:
            moves = (
                rng.standard_normal((n, size, 3)) * rms if name == "matched" else rng.uniform(-1, 1, (n, size, 3)) * rms
            )
    return Configurations(
        name=name,
        sampler={"phonon": "thermal", "random": "paper-eq2", "matched": "matched-random", "eq3": "paper-eq3"}[name],
        offsets=size * np.arange(n + 1),
        numbers=np.tile(large.numbers, n),
        positions_A=(large.positions_A + moves).reshape(-1, 3),
        displacements_A=moves.reshape(-1, 3),
        cells_A=np.tile(large.cell_A, (n, 1, 1)),
        temperature_K=np.full(n, np.nan if name == "random" else 300.0),
        amplitude_A=amplitude,
        fraction=np.full(n, np.nan),
        index=np.arange(n),
        group=tuple(group),
    )


def make_certificate(item: Configurations, phonons: Phonons) -> Certificate:
    """The real certificate; the matched set claims 5 % too much, so that one of them fails."""
    moves = item.displacements_A
    rms = [(symbol, 1.05 * float(np.sqrt((moves[item.numbers == z] ** 2).mean()))) for symbol, z in SPECIES]
    settings = {
        "phonon": {"kind": "thermal", "soft_modes": "floor", "antithetic": True},
        "random": {"kind": "paper-eq2", "amplitudes_A": [0.1, 0.2, 0.3, 0.4]},
        "matched": {"kind": "matched-random", "rms_A": rms},
        "eq3": {"kind": "paper-eq3", "soft_modes": "floor"},
    }[item.name]
    half = len(item) // 2 + len(item) % 2
    place = np.arange(len(item))
    index = 2 * (place % half) + place // half if item.name == "phonon" else place
    origin = Origin(room="sampling", settings={"sampler": settings})
    return certify(replace(item, index=index, origin=origin), phonons)


def make_labels(sets, rng: np.random.Generator) -> Labels:
    ids = tuple(sample for item in sets for sample in item.ids)
    names = tuple(item.name for item in sets for _ in item.ids)
    moves = np.concatenate([item.displacements_A.reshape(len(item), -1, 3) for item in sets])
    silver = (moves[:, :24] ** 2).mean(axis=(1, 2))
    gap = np.maximum(1.26 - 5.2 * silver + 0.035 * rng.standard_normal(len(ids)), 0.0)
    status = ["ok"] * len(ids)
    for k in rng.choice(len(ids), 5, replace=False):
        gap[k] = np.nan
        status[k] = f"failed: band_gap_eV: self-consistency not reached after {200 + k} iterations"
    columns = (
        LabelColumn(
            name="energy_eV_per_atom",
            unit="eV/atom",
            values=-3.412 + 0.9 * silver + 0.003 * rng.standard_normal(len(ids)),
            engine="CHGNet 0.4.2",
        ),
        LabelColumn(name="band_gap_eV", unit="eV", values=gap, engine="tblite 0.8.0 GFN1-xTB"),
        LabelColumn(
            name="vbm_eV",
            unit="eV",
            values=-9.31 + 2.1 * silver + 0.03 * rng.standard_normal(len(ids)),
            engine="tblite 0.8.0 GFN1-xTB",
        ),
        LabelColumn(
            name="hydrostatic_stress_GPa",
            unit="GPa",
            values=-0.6 - 30 * silver + 0.2 * rng.standard_normal(len(ids)),
            engine="CHGNet 0.4.2",
        ),
    )
    return Labels(sample_ids=ids, set_names=names, columns=columns, status=tuple(status))


def make_training(labels: Labels, rng: np.random.Generator, targets=("band_gap_eV", "vbm_eV")):
    fits, predictions, metrics = [], [], []
    names = np.array(labels.set_names)
    for target, trained, seed in itertools.product(targets, COLLECTIONS, range(3)):
        values = labels.column(target).values
        pool = np.isin(names, COLLECTIONS[:2] if trained == "combined" else [trained]) & np.isfinite(values)
        chosen = rng.permutation(np.nonzero(pool)[0])
        cut = (int(0.7 * len(chosen)), int(0.85 * len(chosen)))
        parts = {"train": chosen[: cut[0]], "validation": chosen[cut[0] : cut[1]], "test": chosen[cut[1] :]}
        fit = make_fit(labels, target, trained, seed, parts, rng)
        fits.append(fit)
        jobs = [(trained, part, parts[part]) for part in parts]
        for other in COLLECTIONS:
            if other != trained:
                there = np.isin(names, COLLECTIONS[:2] if other == "combined" else [other]) & np.isfinite(values)
                jobs.append((other, "test", rng.permutation(np.nonzero(there)[0])[: len(parts["test"])]))
        for tested, part, places in jobs:
            noise = {"train": 0.7, "validation": 1.0, "test": 1.05}[part] * (1.0 if tested == trained else 1.5) * 0.032
            truth = values[places]
            guess = (
                truth
                + noise * rng.standard_normal(len(truth))
                - 0.25 * (truth - values[parts["train"]].mean()) * (0.4 if tested == trained else 1)
            )
            predictions.append(
                Predictions(
                    target=target,
                    unit="eV",
                    model=fit.name,
                    trained_on=trained,
                    tested_on=tested,
                    split=part,
                    seed=seed,
                    sample_ids=tuple(labels.sample_ids[p] for p in places),
                    truth=truth,
                    prediction=guess,
                )
            )
            metrics += make_metrics(predictions[-1], fit.train_range)
    return tuple(fits), Evaluation(metrics=tuple(metrics), predictions=tuple(predictions))


def make_fit(labels, target, trained, seed, parts, rng) -> Fitted:
    truth = labels.column(target).values[parts["train"]]
    history = tuple(
        Epoch(
            index=k,
            train_loss=0.06 * np.exp(-k / 14) + 0.004 + 0.0006 * rng.random(),
            learning_rate=1e-3,
            gradient_norm=1.0,
            validation_loss=0.06 * np.exp(-k / 15) + 0.0055 + 0.00003 * k + 0.0012 * rng.random(),
        )
        for k in range(80 + 7 * seed)
    )
    best = min(history, key=lambda epoch: epoch.validation_loss).index
    return Fitted(
        name=f"{target}-{trained}-seed{seed}",
        model=None,
        weights={"linear": np.zeros((64, 130))},
        graph=GraphSpec(),  # type: ignore[arg-type]
        inputs=InputScaling(
            edge_law="minmax",
            distance_min_A=1.8,
            distance_max_A=5.5,
            feature_min=(0.0,),
            feature_max=(1.0,),
            elements=(16, 35, 47),
        ),
        scaling=TargetScaling(kind="standard", shift=0.9, scale=0.2),
        target=target,
        unit="eV",
        trained_on=trained,
        train_range=(float(truth.min()), float(truth.max())),
        split=Split(**{part: tuple(labels.sample_ids[p] for p in places) for part, places in parts.items()}, seed=seed),
        seed=seed,
        best_epoch=best,
        history=history,
    )


def make_metrics(item: Predictions, reach: tuple[float, float]) -> list[Metric]:
    inside = (item.truth >= reach[0]) & (item.truth <= reach[1])
    rows = []
    for scope, chosen in (("all", np.ones_like(inside)), ("in_range", inside), ("out_of_range", ~inside)):
        truth, guess = item.truth[chosen], item.prediction[chosen]
        nan = float("nan")
        enough = len(truth) > 2
        rows.append(
            Metric(
                target=item.target,
                unit=item.unit,
                model=item.model,
                trained_on=item.trained_on,
                tested_on=item.tested_on,
                split=item.split,
                seed=item.seed,
                scope=scope,
                n=len(truth),
                mae=float(np.abs(truth - guess).mean()) if len(truth) else nan,
                rmse=float(np.sqrt(((truth - guess) ** 2).mean())) if len(truth) else nan,
                r2=float(1 - ((truth - guess) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()) if enough else nan,
                pearson_r2=float(np.corrcoef(truth, guess)[0, 1] ** 2) if enough else nan,
            )
        )
    return rows


def make_study(rng: np.random.Generator) -> Study:
    names = [f"{c} convolutions, {p} pooling" for c in (2, 3, 4) for p in ("mean", "max")]
    errors = [
        (0.027 + 0.0022 * k + 0.0012 * rng.standard_normal(), name, seed)
        for k, name in enumerate(names)
        for seed in range(2)
    ]
    rows = tuple(
        StudyRow(
            rank=rank,
            name=f"{name}-seed{seed}",
            architecture=name,
            target="band_gap_eV",
            seed=seed,
            validation_mae=error,
            validation_r2=0.86 - 4 * (error - 0.027),
            best_epoch=60,
            parameters=8321 + 4160 * names.index(name),
            seconds=9.2,
        )
        for rank, (error, name, seed) in enumerate(sorted(errors), start=1)
    )
    return Study(rows=rows)


def make_explanation(
    large: Crystal, rng: np.random.Generator, model: str = "band_gap_eV-phonon-seed0", sharp: float = 1.0
) -> Explanation:
    i, j, image, _, distance = pairs(large, 5.5)
    keep = [(a, b, *im) <= (b, a, *(-im)) for a, b, im in zip(i, j, image, strict=True)]
    i, j, image, distance = i[keep], j[keep], image[keep], distance[keep]
    symbols = large.symbols
    species = tuple("-".join(sorted((symbols[a], symbols[b]))) for a, b in zip(i, j, strict=True))
    lengths = {
        pair: sorted({round(d, 2) for p, d in zip(species, distance, strict=True) if p == pair})
        for pair in sorted(set(species))
    }
    shell = np.array([lengths[p].index(round(d, 2)) for p, d in zip(species, distance, strict=True)])
    level = {("Ag-S", 0): 0.86, ("Ag-Ag", 0): 0.44, ("Ag-Br", 0): 0.39, ("Br-S", 0): 0.25, ("Ag-S", 1): 0.22}
    centre = np.array([level.get((p, int(s)), 0.13) for p, s in zip(species, shell, strict=True)])
    importance = np.clip(0.35 * (1 - sharp) + sharp * centre + 0.055 * rng.standard_normal(len(i)), 0.01, 0.99)
    bonds = []
    for pair, found in lengths.items():
        for number, length in enumerate(found):
            chosen = (np.array(species) == pair) & (shell == number)
            bonds.append(
                BondImportance(
                    species_pair=pair,
                    shell=number,
                    count=int(chosen.sum()),
                    distance_A=length,
                    importance=float(importance[chosen].mean()),
                    importance_sd=0.04,
                    share=float(importance[chosen].sum() / importance.sum()),
                )
            )
    fidelity = tuple(
        Fidelity(
            subject=subject,
            kept_share=share,
            sufficiency=scale * (1 - share) ** 2 * 0.4 + 0.002,
            sufficiency_sd=0.012,
            necessity=0.3 * share**0.6 / scale,
            necessity_sd=0.014,
            n=15,
        )
        for subject, scale in (("explanation", 0.6), ("random_mask", 1.1), ("random_weights", 1.5))
        for share in (0.05, 0.1, 0.2, 0.4)
    )
    return Explanation(
        model=model,
        target="band_gap_eV",
        crystal=large,
        i=i,
        j=j,
        image=image,
        distance_A=distance,
        shell=shell,
        species_pair=species,
        importance=importance,
        importance_sd=np.full(len(i), 0.05),
        bonds=tuple(bonds),
        fidelity=fidelity,
        stability=0.91,
    )


def make_curve() -> ThermalCurve:
    points = [
        ThermalPoint(
            target="band_gap_eV",
            unit="eV",
            temperature_K=float(t),
            mean=1.215 - 0.00105 * t,
            standard_error=0.002 + 0.000012 * t,
            model_spread=0.006 + 0.00004 * t,
            n=200,
            out_of_range=max(0.0, (t - 350) / 1200),
            label_mean=1.222 - 0.00108 * t,
            label_error=0.011,
            label_n=12,
        )
        for t in range(100, 700, 100)
    ]
    return ThermalCurve(
        points=tuple(points), statistics="quantum", origin=Origin(room="thermal", settings={"force_constants": "fixed"})
    )


def make_material(
    n: int = 75, title: str = "Band gap of cubic Ag₃SBr at finite temperature", models: int = 2
) -> ReportMaterial:
    rng = np.random.default_rng(7)
    unit = unit_cell()
    phonons = make_phonons(unit)
    sets = tuple(make_set(name, phonons, n, rng) for name in SETS)
    labels = make_labels(sets, rng)
    fits, evaluation = make_training(labels, rng)
    explanations = (
        make_explanation(phonons.supercell, rng),
        make_explanation(phonons.supercell, rng, "band_gap_eV-random-seed0", 0.55),
    )
    return ReportMaterial(
        title=title,
        crystal=unit,
        phonons=phonons,
        sets=sets,
        certificates=tuple(make_certificate(item, phonons) for item in sets),
        labels=labels,
        study=make_study(rng),
        fits=fits,
        evaluation=evaluation,
        explanations=explanations[:models],
        curve=make_curve(),
        warnings=(
            (
                "phonons",
                "33 of 117 harmonic modes are imaginary (lowest −1.48 THz): no minimum at 0 K.",
            ),
            ("sampling", "set 'random': 3 of 75 configurations bring two atoms nearer than 1.7 Å (shortest 1.62 Å)."),
            ("labels", "5 of 300 band gaps failed; they are holes in labels.csv."),
            (
                "thermal",
                "at 600 K 21 % of the predictions lie outside the range of the training labels (0.62–1.21 eV).",
            ),
        ),
        manifest={
            "command": "phonograph run examples/quickstart.toml -o runs/quickstart",
            "phonograph": "0.1.0",
            "timings_s": {
                "phonons": 61.2,
                "sampling": 0.8,
                "labels": 142.6,
                "graphs": 1.9,
                "training": 71.4,
                "evaluation": 2.2,
                "explanation": 24.9,
                "thermal": 9.7,
            },
            "seeds": {"root": 0, "training": [0, 1, 2]},
            "versions": {
                "python": "3.11.2",
                "numpy": "2.3.4",
                "torch": "2.13.0",
                "phonopy": "4.8.6",
                "ase": "3.29.0",
                "chgnet": "0.4.2",
                "tblite": "0.8.0",
            },
            "hashes": {"examples/structures/Ag3SBr.vasp": "9f2c" * 16, "1_phonons/phonopy.yaml": "a81b" * 16},
        },
        config_toml=CONFIG,
        citations=(
            "B. Deng et al., CHGNet, Nature Machine Intelligence 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.",
            "A. Togo, J. Phys. Soc. Jpn. 92, 012001 (2023), doi:10.7566/JPSJ.92.012001.",
        ),
    )
