"""Settings of the routes to phonons at temperature and of the relaxation: light to import."""

from __future__ import annotations

from dataclasses import dataclass

from phonograph.errors import ConfigurationError
from phonograph.options import check_options, option


@dataclass(frozen=True, kw_only=True)
class Renormalisation:
    """Self-consistent stochastic force constants at a temperature; see :func:`phonograph.phonons.renormalise`.

    Raises
    ------
    ConfigurationError
        An option out of its range, or classical statistics at 0 K, where nothing moves.
    """

    temperature_K: float = option(300.0, "Temperature of the sampled law, K.", minimum=0.0)
    statistics: str = option("quantum", "Statistics of the sampled law.", choices=("quantum", "classical"))
    pairs_per_round: int = option(16, "Antithetic pairs ±u whose forces each round computes.", minimum=2)
    window: int = option(10, "Latest rounds whose samples are fitted together.", minimum=1)
    reweight: bool = option(
        True, "Weigh samples of earlier rounds to the current law; off: all samples of the window count the same."
    )
    mixing: float = option(
        0.5,
        "Share of the fit that enters the next law at first; halved, divided by three, … at each turn back.",
        above=0.0,
        maximum=1.0,
    )
    amplitude_guard_A: float = option(
        0.2, "Largest rms displacement that one mode alone may give an atom while looping, Å.", above=0.0, maximum=2.0
    )
    guard_tolerance: float = option(
        0.01,
        "Largest share of displacement variance the guard may remove in a converged round.",
        above=0.0,
        maximum=1.0,
    )
    frequency_tolerance_THz: float = option(
        0.1, "Largest rms error bar of the commensurate frequencies in a converged round, THz.", above=0.0
    )
    free_energy_tolerance_eV_per_atom: float = option(
        0.001, "Largest standard error of the free energy in a converged round, eV/atom.", above=0.0
    )
    max_rounds: int = option(24, "Rounds after which the loop stops without convergence.", minimum=2)
    blocks: int = option(10, "Blocks of pairs that the jackknife leaves out in turn.", minimum=3)
    free_energy_curvature: bool = option(
        False,
        "Also determine the curvature of the free energy (with the bubble of third-order force constants), which says "
        "whether the crystal is stable; the force constants stay the self-consistent ones.",
    )
    third_order_cutoff_A: float | None = option(
        None, "Atoms further apart share no third-order force constant, Å; not given: all do.", above=0.0
    )

    def __post_init__(self) -> None:
        check_options(self, "phonons.renormalisation")
        if self.third_order_cutoff_A is not None and not self.free_energy_curvature:
            raise ConfigurationError(
                "phonons.renormalisation.third_order_cutoff_A has no effect without free_energy_curvature = true; "
                "set that, or leave the cutoff out"
            )
        if self.statistics == "classical" and self.temperature_K == 0:
            raise ConfigurationError(
                "phonons.renormalisation: classical atoms do not move at 0 K; set statistics = 'quantum' or "
                "temperature_K above 0"
            )


@dataclass(frozen=True, kw_only=True)
class ModeProjection:
    """Lines of normal modes in a molecular dynamics trajectory; see :func:`phonograph.phonons.projection.project`."""

    temperature_K: float | None = option(
        None, "Temperature of the trajectory, K; not given: what the trajectory says.", above=0.0
    )
    skip_ps: float = option(0.0, "Start of the trajectory that is left out, ps.", minimum=0.0)
    blocks: int = option(4, "Parts of the trajectory that are fitted one by one to check the error bars.", minimum=2)

    def __post_init__(self) -> None:
        check_options(self, "phonons.renormalisation")


@dataclass(frozen=True, kw_only=True)
class ForceRegression:
    """Force constants fitted to the forces of a trajectory; see :func:`phonograph.phonons.regression.regress`."""

    temperature_K: float | None = option(
        None, "Temperature of the trajectory, K; not given: what the trajectory says.", above=0.0
    )
    skip_ps: float = option(0.0, "Start of the trajectory that is left out, ps.", minimum=0.0)
    stride: int = option(0, "Every how many frames one is fitted; 0: as the forces' autocorrelation allows.", minimum=0)
    blocks: int = option(10, "Consecutive parts of the trajectory that the jackknife leaves out in turn.", minimum=3)

    def __post_init__(self) -> None:
        check_options(self, "phonons.renormalisation")


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """Symmetry-kept relaxation; see :func:`phonograph.phonons.relax`."""

    what: str = option("positions", "Relax the positions only, or the cell as well.", choices=("positions", "cell"))
    force_tolerance_eV_per_A: float = option(0.005, "Largest force on an atom afterwards, eV/Å.", above=0.0)
    stress_tolerance_GPa: float = option(
        0.05, "Largest stress component afterwards, GPa; used with what = 'cell'.", above=0.0
    )
    max_steps: int = option(300, "Steps after which the relaxation gives up.", minimum=1)
    symmetry_tolerance_A: float = option(
        0.001, "Atoms this close to a symmetric site are put onto it before relaxing, Å.", above=0.0, maximum=0.1
    )

    def __post_init__(self) -> None:
        check_options(self, "crystal.relaxation")
