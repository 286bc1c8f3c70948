"""What the paper states: every number and claim that an item is compared with, and where it stands.

P. Benítez, C. López, E. Saucedo, T. Mizoguchi and C. Cazorla, Why Physics Still Matters: Improving Machine Learning
Prediction of Material Properties With Phonon-Informed Datasets, Advanced Intelligent Discovery (2026),
arXiv:2511.15222.  Numbers are those of its text and of Table 1; what it shows only in pictures is a claim in words, and
where it says nothing, the words say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from phonograph.types.paper import Statement

TARGETS = ("energy_eV_per_atom", "band_gap_eV", "vbm_eV", "hydrostatic_stress_GPa")
"""Its four targets, in the order of Table 1."""

WORDS = MappingProxyType(
    {
        "energy_eV_per_atom": "energy per atom",
        "band_gap_eV": "band gap",
        "vbm_eV": "valence-band maximum",
        "hydrostatic_stress_GPa": "hydrostatic stress",
    }
)
UNITS = MappingProxyType(
    {"energy_eV_per_atom": "eV/atom", "band_gap_eV": "eV", "vbm_eV": "eV", "hydrostatic_stress_GPa": "GPa"}
)

TABLE_1: Mapping[str, Mapping[str, tuple[float, float, float]]] = MappingProxyType(
    {
        "energy_eV_per_atom": {
            "train": (0.024, 0.036, 0.89),
            "validation": (0.028, 0.044, 0.79),
            "test": (0.022, 0.032, 0.85),
        },
        "band_gap_eV": {
            "train": (0.034, 0.043, 0.81),
            "validation": (0.035, 0.045, 0.79),
            "test": (0.035, 0.044, 0.79),
        },
        "vbm_eV": {"train": (0.026, 0.035, 0.99), "validation": (0.028, 0.037, 0.98), "test": (0.024, 0.033, 0.99)},
        "hydrostatic_stress_GPa": {
            "train": (0.65, 1.01, 0.84),
            "validation": (0.65, 0.99, 0.84),
            "test": (0.60, 0.88, 0.82),
        },
    }
)
"""Target → part → (MAE, RMSE, R²), MAE and RMSE in the target's unit."""

STUDY_FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "s5": "energy_eV_per_atom",
        "s6": "band_gap_eV",
        "s7": "vbm_eV",
        "s8": "hydrostatic_stress_GPa",
    }
)
"""Supporting figure → the target of its study."""

PAIRS = ("Ag-Ag", "S-S", "Br-Br", "Ag-S", "Ag-Br", "S-Br")
"""Species pairs of Figures S3 and S11."""


_METRIC = {"MAE": "mae", "RMSE": "rmse", "R²": "r2"}


def _table_1() -> Iterator[Statement]:
    for target, parts in TABLE_1.items():
        for part, numbers in parts.items():
            for name, value in zip(("MAE", "RMSE", "R²"), numbers, strict=True):
                unit = "" if name == "R²" else UNITS[target]
                decimals = 2 if name == "R²" or target == "hydrostatic_stress_GPa" else 3
                yield Statement(
                    key=f"table1.{target}.{part}.{_METRIC[name]}",
                    what=f"{name} of the {WORDS[target]}, {part} part",
                    words=f"{value:.{decimals}f} {unit}".strip(),
                    where="Table 1",
                    value=value,
                    half_width=0.5 * 10.0**-decimals,
                    unit=unit,
                )


def _claim(key: str, what: str, words: str, where: str) -> Statement:
    return Statement(key=key, what=what, words=words, where=where)


def _number(key: str, what: str, words: str, where: str, value: float, half_width: float, unit: str) -> Statement:
    return Statement(key=key, what=what, words=words, where=where, value=value, half_width=half_width, unit=unit)


_SAID = (
    # Figure S3
    *(
        _claim(
            f"s3.{pair}",
            f"first shell of {pair.replace('-', '–')}",
            "the first coordination shell for any pair of species lies within 5.5 Å",
            "Section 2.1; Figure S3",
        )
        for pair in PAIRS
    ),
    # Figure S9
    _claim(
        "s9.insulating",
        "share of random cells with a gap, at the amplitude where it is smallest",
        "amplitudes of 0.1–0.8 Å ensure adequate sampling of electronically insulating configurations",
        "Section 2.3; Figure S9",
    ),
    _claim("s9.correlation", "correlation r of gap and amplitude", "shown in Figure S9 only; no number", "Figure S9"),
    # Figure S10
    _claim(
        "s10.energy_eV_per_atom",
        "overlap of the energies of phonon and random cells",
        "the distributions of energy and stress differ substantially",
        "Section 2.3; Figure S10",
    ),
    _claim(
        "s10.hydrostatic_stress_GPa",
        "overlap of the stresses of phonon and random cells",
        "the distributions of energy and stress differ substantially",
        "Section 2.3; Figure S10",
    ),
    _claim(
        "s10.band_gap_eV",
        "overlap of the gaps of phonon and random cells",
        "the gap distributions are nearly identical across all three datasets",
        "Section 2.3; Figure S10",
    ),
    _claim(
        "s10.vbm_eV",
        "overlap of the valence-band maxima of phonon and random cells",
        "the text says nothing about it",
        "Figure S10",
    ),
    _claim(
        "s10.high-energy",
        "share of random cells above the 99th percentile of the energies of phonon cells",
        "the random set contains numerous high-energy, nonphysical configurations",
        "Section 2.3",
    ),
    # Figure S11
    *(
        _claim(
            f"s11.{pair}",
            f"overlap of the {pair.replace('-', '–')} distances of phonon and random cells, below 6 Å",
            "nearly identical for all atomic pairs",
            "Section 2.3; Figure S11",
        )
        for pair in PAIRS
    ),
    _claim(
        "s11.short",
        "shortest distance of two atoms in a random cell",
        "random distortions include unrealistically short distances (< 0.1 Å)",
        "Section 3",
    ),
    # Figure 3
    _claim(
        "fig3.outside",
        "share of random cells outside the thermally accessible region",
        "random cells lie outside the thermally accessible region, phonon cells inside",
        "Figure 3c; Section 3",
    ),
    # Figure S2
    _claim(
        "s2.converged",
        "validation MAE at 5.5 Å over the lowest at any cutoff",
        "a cutoff of 5.5 Å yields well-converged results",
        "Section 2.1; Figure S2",
    ),
    # Table 1 and Figure 2
    *_table_1(),
    _claim(
        "table1.all-r2",
        "lowest test r² (squared Pearson) of the targets",
        "R² was around or above 0.80 in all cases",
        "Section 2.2",
    ),
    _claim(
        "table1.overfitting",
        "largest test MAE over train MAE of the targets",
        "the similarity of train, validation and test confirms the absence of overfitting",
        "Section 2.2",
    ),
    *(
        _claim(
            f"fig2.{target}.bias",
            f"mean test error of the {words} over the standard deviation of its errors",
            "errors are centred around zero, with no systematic over- or underestimation",
            "Section 2.2; Figure 2",
        )
        for target, words in WORDS.items()
    ),
    _claim(
        "fig2.gap-worst",
        "test R² of the band gap minus the lowest of the other targets",
        "the band gap displays the largest dispersion and the lowest R²",
        "Sections 2.2, 2.3",
    ),
    # Figures S5–S8
    *(
        statement
        for figure, target in STUDY_FIGURES.items()
        for statement in (
            _claim(
                f"{figure}.learning-rate",
                f"{WORDS[target]}: variance of validation R² that the learning rate explains, minus the next parameter",
                "the most critical hyperparameter is the learning rate",
                f"Section 2.2; Figure {figure.upper()}",
            ),
            _claim(
                f"{figure}.best-rates",
                f"{WORDS[target]}: lower median R² of rates 10⁻⁴ and 10⁻⁵ minus the highest of other rates",
                "optimal performance for 10⁻⁴ and 10⁻⁵",
                f"Section 2.2; Figure {figure.upper()}",
            ),
        )
    ),
    # Figure 4
    _number(
        "fig4.phonon.own.r2",
        "R², phonon-trained on phonon cells",
        "R² ≈ 0.85",
        "Section 2.3, Figure 4a",
        0.85,
        0.005,
        "",
    ),
    _number(
        "fig4.phonon.own.mae",
        "MAE, phonon-trained on phonon cells",
        "MAE ≈ 0.030 eV",
        "Section 2.3, Figure 4a",
        0.030,
        0.0005,
        "eV",
    ),
    _number(
        "fig4.random.own.r2",
        "R², random-trained on random cells",
        "R² ≈ 0.72",
        "Section 2.3, Figure 4d",
        0.72,
        0.005,
        "",
    ),
    _number(
        "fig4.random.own.mae",
        "MAE, random-trained on random cells",
        "MAE ≈ 0.036 eV",
        "Section 2.3, Figure 4d",
        0.036,
        0.0005,
        "eV",
    ),
    _claim(
        "fig4.own.r2",
        "own tests: R² of phonon-trained minus random-trained",
        "the phonon-informed model exhibits superior accuracy (R² 0.85 against 0.72)",
        "Section 2.3, Figure 4a,d",
    ),
    _claim(
        "fig4.own.mae",
        "own tests: MAE of random-trained minus phonon-trained",
        "0.036 eV against 0.030 eV",
        "Section 2.3, Figure 4a,d",
    ),
    _claim(
        "fig4.phonon.converged",
        "phonon-trained: MAE at about 1,000 labels over that at the most labels",
        "converges at approximately 1,000 training structures",
        "Section 2.3, Figure 4a",
    ),
    _claim(
        "fig4.random.converged",
        "random-trained: MAE at about 1,000 labels over that at the most labels",
        "converges at approximately 1,000 training structures",
        "Section 2.3, Figure 4d",
    ),
    _claim(
        "fig4.beats-combined",
        "own test: MAE of combined-trained minus phonon-trained",
        "the phonon-based model outperforms the model trained on the combined dataset (0.035 eV), twice as large",
        "Section 2.3, Table 1",
    ),
    _claim(
        "fig4.phonon.drop",
        "phonon-trained: MAE on random cells minus MAE on phonon cells",
        "both models show a decrease in accuracy on the complementary set",
        "Section 2.3, Figure 4b",
    ),
    _claim(
        "fig4.random.drop",
        "random-trained: MAE on phonon cells minus MAE on random cells",
        "both models show a decrease in accuracy on the complementary set",
        "Section 2.3, Figure 4e",
    ),
    _number(
        "fig4.complementary.mae",
        "complementary tests: MAE of random-trained minus phonon-trained",
        "approximately 0.010 eV lower for the phonon-informed model",
        "Section 2.3, Figure 4b,e",
        0.010,
        0.005,
        "eV",
    ),
    _claim(
        "fig4.complementary.r2",
        "complementary tests: R² of phonon-trained minus random-trained",
        "a similar trend for R²",
        "Section 2.3, Figure 4b,e",
    ),
    _claim(
        "fig4.combined.mae",
        "combined test: MAE of random-trained minus phonon-trained",
        "the phonon-informed model outperforms: < 0.040 eV against > 0.045 eV",
        "Section 2.3, Figure 4c,f",
    ),
    # Table S1
    _claim(
        "table-s1.own.mae",
        "own validation: MAE of MD-trained minus phonon-trained",
        "the phonon-trained model generally performs slightly better; numbers are in the supporting information only",
        "Section 2.3, Table S1",
    ),
    _claim(
        "table-s1.complementary.mae",
        "complementary: MAE of MD-trained on phonon cells minus phonon-trained on MD cells",
        "marginally smaller MAE and RMSE",
        "Section 2.3, Table S1",
    ),
    _claim(
        "table-s1.complementary.r2",
        "complementary: R² of phonon-trained on MD cells minus MD-trained on phonon cells",
        "a slightly larger R²",
        "Section 2.3, Table S1",
    ),
    # Figure 5
    _claim(
        "fig5.good.top",
        "good model: share of Ag–S among the edges of the highest importance",
        "the best model identifies several highly important bonds, predominantly Ag–S",
        "Section 2.4, Figure 5b,e",
    ),
    _claim(
        "fig5.good.ag-s",
        "good model: mean importance of Ag–S minus the highest of the other pairs",
        "Ag–S bonds are the most important",
        "Section 2.4, Figure 5e",
    ),
    _claim(
        "fig5.good.low",
        "good model: share of edges with importance below 0.4",
        "low importance (below 0.4) to most bonds",
        "Section 2.4, Figure 5e",
    ),
    _claim(
        "fig5.good.br-br",
        "good model: mean importance of Br–Br",
        "Br–Br bonds receive very low values (below 0.2)",
        "Section 2.4, Figure 5e",
    ),
    _claim(
        "fig5.contrast",
        "spread of the mean importances of pairs, good minus poor model",
        "the poor model does not distinguish between bond types",
        "Section 2.4, Figure 5e,f",
    ),
    _claim(
        "fig5.dos",
        "electronic density of states and orbital picture",
        "Ag and S orbitals form the conduction-band edge",
        "Section 2.4, Figure 5g–i",
    ),
)

STATEMENTS: Mapping[str, Statement] = MappingProxyType({item.key: item for item in _SAID})
"""Key → statement."""
