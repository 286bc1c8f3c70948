"""``[paper]`` of the configuration: which of its sets play which part in the paper that is remade."""

from __future__ import annotations

from dataclasses import dataclass

from phonograph.errors import ConfigurationError
from phonograph.options import check_different, check_options, option

ITEMS = (
    "s3",
    "s9",
    "s11",
    "s10",
    "fig3",
    "table1",
    "fig2",
    "s2",
    "fig5",
    "fig4",
    "table-s1",
    "s6",
    "s5",
    "s7",
    "s8",
)
"""Figures and tables that are remade, cheap ones first."""


@dataclass(frozen=True, kw_only=True)
class PaperConfig:
    """Parts of the paper, the networks of its Table 1, and the cutoffs of its Figure S2."""

    items: tuple[str, ...] = option((), "What to remake; empty: everything.", choices=ITEMS)
    phonon: str = option("thermal", "Set of thermally displaced cells.")
    random: str = option("random", "Set of randomly displaced cells.")
    md: str = option("md", "Set of frames of molecular dynamics; empty: none.")
    combined: str = option("combined", "Training collection of the phonon and the random set.")
    crystal: str = option("", "Equilibrium structure of Figure S3; empty: that of [crystal].")
    targets: tuple[str, ...] = option(
        ("energy_eV_per_atom", "band_gap_eV", "vbm_eV", "hydrostatic_stress_GPa"), "Targets of Table 1 and Figure 2."
    )
    networks: str = option(
        "configured",
        "Networks of Table 1 and Figures 2 and 5: 'configured', those of [training.model] and [training.settings], or "
        "'study', for every target the winner of [study].",
        choices=("configured", "study"),
    )
    seeds: tuple[int, ...] = option(
        tuple(range(10)),
        "Seeds of Table 1 and Figure S2: each draws its own split (S2: the first) and weights.",
        seed=True,
    )
    cutoffs_A: tuple[float, ...] = option((3.5, 4.5, 5.5, 6.5), "Cutoffs of Figure S2, Å.", above=0.0, maximum=12.0)
    poor_learning_rate: float = option(
        1e-6, "Learning rate of the poor model of Figure 5; all else is that of the good one.", above=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        check_options(self, "paper")
        check_different(self, "paper", "items", "targets", "seeds", "cutoffs_A")
        if not self.seeds or not self.targets:
            raise ConfigurationError("paper.seeds and paper.targets must each name at least one; got none")
