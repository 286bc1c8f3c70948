"""``[study]`` of the configuration: which networks are compared, how, and on what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from phonograph.errors import ConfigurationError
from phonograph.execution.cluster_settings import ClusterSettings
from phonograph.options import check_different, check_options, option, without_effect
from phonograph.tables import from_table, refuse_unknown
from phonograph.training.grid import PAPER_AXES, check_axes, check_axis_name, check_effects
from phonograph.training.settings import TrainingSettings

__all__ = ["HalvingConfig", "SearchConfig", "StudyConfig", "check_study", "parse_study"]


@dataclass(frozen=True, kw_only=True)
class HalvingConfig:
    """``[study.halving]``: successive halving of the grid."""

    first_epochs: int = option(10, "Epochs of the first rung, which all points train.", minimum=1)
    eta: int = option(4, "Of every rung the best 1/eta go on, for eta times the epochs, up to the full.", minimum=2)
    check: int = option(
        16,
        "Points drawn at random that are also trained to the end, to see whether the first rung ranks as the last one "
        "does; 0: none.",
        minimum=0,
    )

    def __post_init__(self) -> None:
        check_options(self, "study.halving")


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """``[study.search]``: Optuna's TPE over the choices of [study.axes] and the ranges given here."""

    trials: int = option(64, "Points to try.", minimum=1)
    batch: int = option(
        8, "Points asked for at a time; part of the result, so it does not follow the machine.", minimum=1
    )
    ranges: Mapping[str, tuple[float, ...]] = field(
        default_factory=dict,
        metadata={
            "help": "Axis → [low, high], searched evenly in its logarithm where high is at least ten times a positive "
            "low; such an axis must not be among study.axes."
        },
    )

    def __post_init__(self) -> None:
        check_options(self, "study.search")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """``[study]``: networks of a grid, compared on validation parts; the test part judges the winner only."""

    targets: tuple[str, ...] = option((), "Label columns to study, one by one; empty: training.targets.")
    collection: str = option("", "Collection to study; empty: the last (all sets combined).")
    strategy: str = option(
        "full",
        "'full': every point to the end; 'halving': every point for a few epochs, the best for more; 'optuna': a "
        'search that also takes ranges (install with: pip install "phonograph[study]").',
        choices=("full", "halving", "optuna"),
    )
    seeds: tuple[int, ...] = option(
        (0, 1, 2),
        "Each trains every point with its own training/validation split, initial weights and shuffling.",
        seed=True,
    )
    final_seeds: tuple[int, ...] = option(
        (0, 1, 2, 3, 4),
        "Seeds with which the winner is trained again and judged on the test part; empty: it is not.",
        seed=True,
    )
    timeout_s: float = option(86400.0, "Time limit of one training job, s.", above=0.0)
    axes: Mapping[str, tuple[Any, ...]] = field(
        default_factory=lambda: dict(PAPER_AXES),
        metadata={
            "help": "Axis → values: 'architecture' (1–6 of the paper) or any option of [training.model] and "
            "[training.settings] but epochs; the published grid of 480 where not given."
        },
    )
    halving: HalvingConfig = field(default_factory=HalvingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    executor: ClusterSettings | None = None

    def __post_init__(self) -> None:
        check_options(self, "study")
        check_different(self, "study", "seeds", "final_seeds", "targets")
        if not self.seeds:
            raise ConfigurationError("study.seeds must name at least one seed; got none")
        if self.axes or self.strategy != "optuna" or not self.search.ranges:
            check_axes(self.axes)
        self._check_ranges()

    def _check_ranges(self) -> None:
        for name, ends in self.search.ranges.items():
            check_axis_name(name, "study.search.ranges")
            if self.strategy != "optuna":
                raise without_effect(
                    f"study.search.ranges.{name}", 'set study.strategy = "optuna", or list values in study.axes'
                )
            if len(ends) != 2 or not ends[0] < ends[1]:
                raise ConfigurationError(f"study.search.ranges.{name} must be [low, high]; got {list(ends)}")
            if name in self.axes:
                raise ConfigurationError(f"study.axes and study.search.ranges both name {name!r}; keep one of them")
            for end in ends:
                check_axes({name: (_whole(name, end),)}, "study.search.ranges")


def check_study(
    study: StudyConfig | None, settings: TrainingSettings, targets: Sequence[str], collections: Collection[str]
) -> None:
    """Refuse names that refer to nothing, and axes that change nothing, before anything is computed.

    Parameters
    ----------
    study
        What was asked for; None: nothing.
    settings, targets
        Of ``[training]``, which hold where the study says nothing.
    collections
        The training collections; none where there are no sets yet.

    Raises
    ------
    ConfigurationError
        Naming the option, what was given and what there is.
    """
    if study is None:
        return
    if study.collection and collections and study.collection not in collections:
        raise ConfigurationError(f"study.collection must be one of {', '.join(collections)}; got {study.collection!r}")
    check_effects(study.axes, study.search.ranges, settings, study.targets or targets)


def _whole(name: str, value: float) -> float | int:
    from phonograph.models.spec import GraphConvNet

    homes = [one() for one in (GraphConvNet, TrainingSettings) if name in {item.name for item in fields(one)}]
    return int(value) if homes and isinstance(getattr(homes[0], name), int) and value == int(value) else value


def parse_study(table: Mapping[str, Any]) -> StudyConfig:
    """Make the settings from the TOML table ``[study]``.

    Raises
    ------
    ConfigurationError
        One sentence naming the key, what was expected and what was got.
    """
    refuse = [item.name for item in fields(StudyConfig)]
    for key in table:
        refuse_unknown(key, refuse, "study")
    plain = {key: value for key, value in table.items() if key != "axes"}
    if "axes" not in table:
        search = table.get("search")
        ranged = table.get("strategy") == "optuna" and isinstance(search, Mapping) and search.get("ranges")
        return from_table(StudyConfig, plain, "study", **({"axes": {}} if ranged else {}))
    axes = table["axes"]
    if not isinstance(axes, Mapping):
        raise ConfigurationError(f"study.axes must be a table of lists; got {axes!r}")
    check_axes(axes)
    return from_table(StudyConfig, plain, "study", axes={name: tuple(values) for name, values in axes.items()})
