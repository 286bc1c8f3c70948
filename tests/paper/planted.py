"""Planted data for the items of the paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from phonograph.steps.paper.data import MD, PHONON, RANDOM, PaperData
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import (
    BondImportance,
    Configurations,
    CurvePredictions,
    CurveRow,
    Dataset,
    Explanation,
    LabelColumn,
    Labels,
)
from phonograph.types.labels import PROPERTY_UNITS
from phonograph.types.paper import PaperItem

TARGETS = ("energy_eV_per_atom", "band_gap_eV", "vbm_eV", "hydrostatic_stress_GPa")
POSCAR = """Ag3SBr
4.9
1 0 0
0 1 0
0 0 1
Ag S Br
3 1 1
Direct
0.5 0.5 0
0.5 0 0.5
0 0.5 0.5
0.5 0.5 0.5
0 0 0
"""

CONFIG = """
title = "planted"
seed = 5
workers = 1
[[data.sets]]
name = "thermal"
format = "dataset"
structures = "planted"
[[data.sets]]
name = "random"
format = "dataset"
structures = "planted"
[[data.sets]]
name = "md"
format = "dataset"
structures = "planted"
[training.collections]
thermal = ["thermal"]
random = ["random"]
combined = ["thermal", "random"]
md = ["md"]
[training.model]
hidden_channels = 8
[training.settings]
epochs = 3
[learning_curve]
sizes = [10, 20]
seeds = [0, 1]
[explanation]
runs = 2
configurations = 2
explainer.epochs = 5
[paper]
crystal = "POSCAR"
seeds = [0, 1]
cutoffs_A = [4.5, 5.5]
targets = ["band_gap_eV", "energy_eV_per_atom"]
[study]
targets = ["band_gap_eV"]
collection = "combined"
seeds = [0]
final_seeds = []
[study.axes]
learning_rate = [1e-2, 1e-3, 1e-4, 1e-5]
dropout = [0.0, 0.4]
"""


def verdicts(item: PaperItem) -> dict[str, str]:
    return {line.key: line.verdict for line in item.comparisons}


def configurations(name: str, n: int, rms_A: float, amplitudes_A: tuple[float, ...] = ()) -> Configurations:
    made = displaced(cubic_antiperovskite(), n, rms_A=rms_A, name=name, seed=len(name))
    if not amplitudes_A:
        return replace(made, fraction=np.zeros(n))
    amplitude = np.resize(amplitudes_A, n)
    shift = np.random.default_rng(3).uniform(-1, 1, (n, 5, 3)) * amplitude[:, None, None]
    rest = cubic_antiperovskite().positions_A
    return replace(
        made,
        positions_A=(rest + shift).reshape(-1, 3),
        displacements_A=shift.reshape(-1, 3),
        amplitude_A=amplitude,
        fraction=np.zeros(n),
    )


def labels_of(item: Configurations, values: dict[str, np.ndarray]) -> Labels:
    return Labels(
        sample_ids=item.ids,
        set_names=(item.name,) * len(item),
        columns=tuple(
            LabelColumn(name=name, unit=PROPERTY_UNITS[name], values=column, engine="planted")
            for name, column in values.items()
        ),
        status=("ok",) * len(item),
    )


def physical(item: Configurations, seed: int = 0) -> dict[str, np.ndarray]:
    """Labels that follow the displacements: energy rises and the gap falls with ⟨u²⟩."""
    u2 = (item.displacements_A.reshape(len(item), -1) ** 2).mean(axis=1)
    noise = np.random.default_rng(seed).normal(0, 1, (4, len(item)))
    return {
        "energy_eV_per_atom": -3.0 + 4.0 * u2 + 0.001 * noise[0],
        "band_gap_eV": np.maximum(1.2 - 8.0 * u2 + 0.02 * noise[1], 0.0),
        "vbm_eV": -1.0 + u2 + 0.02 * noise[2],
        "hydrostatic_stress_GPa": 5.0 * u2 + 0.1 * noise[3],
    }


def paper_data(sets: dict[str, tuple[Configurations, dict[str, np.ndarray]]]) -> PaperData:
    from phonograph.types import join_labels

    roles = {role: item.name for role, (item, _) in sets.items()}
    return PaperData(
        roles=roles,
        sets={item.name: item for item, _ in sets.values()},
        labels=join_labels([labels_of(item, values) for item, values in sets.values()]),
    )


def three_sets(n: int) -> dict[str, tuple[Configurations, dict[str, np.ndarray]]]:
    made = {
        PHONON: configurations("thermal", n, 0.1),
        RANDOM: configurations("random", n, 0.1, (0.1, 0.2, 0.3, 0.4)),
        MD: configurations("md", n, 0.11),
    }
    return {role: (item, physical(item, seed)) for seed, (role, item) in enumerate(made.items())}


def dataset(n: int) -> Dataset:
    from phonograph.types import join_labels

    found = three_sets(n).values()
    return Dataset(
        name="planted",
        sets=tuple(item for item, _ in found),
        labels=join_labels([labels_of(item, values) for item, values in found]),
        card="# planted <card>\n",
    )


def curve_row(trained: str, tested: str, size: int, seed: int, mae: float, r2: float, **more: float) -> CurveRow:
    plain = {
        "target": "band_gap_eV",
        "unit": "eV",
        "trained_on": trained,
        "tested_on": tested,
        "size": size,
        "seed": seed,
        "candidate": "fixed",
        "chosen": 1,
        "scope": "all",
        "n": 250,
        "n_train": int(0.8 * size),
        "n_validation": int(0.2 * size),
        "n_available": 2250,
        "mae": mae,
        "rmse": 1.2533 * mae,
        "r2": r2,
        "pearson_r2": r2,
        "naive_mae": 0.1,
        "validation_mae": mae,
        "best_epoch": 1,
        "epochs": 2,
        "steps": 3,
    }
    return CurveRow(**{**plain, **more})


def judged_rows(
    target: str, spread: float, rmse: float, seeds: int = 5, n: int = 675, bias: float = 0.0
) -> tuple[list[CurveRow], list[CurvePredictions]]:
    """Networks whose errors are normal with a given RMSE on labels of a given spread, each seed with other cells."""
    from phonograph.evaluation.bootstrap import metric_sums, metrics_of

    rows, predictions = [], []
    for seed in range(seeds):
        for place, part in enumerate(("train", "validation", "test")):
            rng = np.random.default_rng([seed, place, len(target)])
            truth = rng.normal(0, spread, n)
            # A fitted network pulls towards the mean: its errors are uncorrelated with what it predicts.
            share = max(1 - rmse**2 / spread**2, 0.0)
            prediction = share * truth + np.sqrt(share * (1 - share)) * rng.normal(0, spread, n) + bias
            mae, found, r2, pearson = metrics_of(metric_sums(truth, prediction, [str(i) for i in range(n)]).sum(axis=0))
            rows.append(
                curve_row(
                    "combined",
                    part,
                    3825,
                    seed,
                    float(mae),
                    float(r2),
                    target=target,
                    rmse=float(found),
                    pearson_r2=float(pearson),
                    n=n,
                    n_train=3150,
                    n_available=4500,
                )
            )
            predictions.append(
                CurvePredictions(
                    target=target,
                    trained_on="combined",
                    tested_on=part,
                    size=3825,
                    seed=seed,
                    candidate="",
                    sample_ids=tuple(f"{part}-{seed}-{i}" for i in range(n)),
                    truth=truth,
                    prediction=prediction,
                    train_range=(-1.0, 1.0),
                )
            )
    return rows, predictions


def explanation(importances: dict[str, np.ndarray]) -> Explanation:
    pairs = [pair for pair, values in importances.items() for _ in values]
    joined = np.concatenate(list(importances.values()))
    count = len(joined)
    return Explanation(
        model="planted",
        target="band_gap_eV",
        crystal=cubic_antiperovskite(),
        i=np.zeros(count),
        j=np.ones(count),
        image=np.zeros((count, 3)),
        distance_A=np.full(count, 2.4),
        shell=np.zeros(count),
        species_pair=tuple(pairs),
        importance=joined,
        importance_sd=np.full(count, 0.01),
        bonds=tuple(
            BondImportance(
                species_pair=pair,
                shell=0,
                count=len(values),
                distance_A=2.4,
                importance=float(values.mean()),
                importance_sd=0.01,
                share=0.1,
            )
            for pair, values in importances.items()
        ),
        fidelity=(),
        stability=1.0,
    )
