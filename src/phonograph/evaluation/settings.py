"""How learning curves are measured, as plain options."""

from __future__ import annotations

from dataclasses import dataclass

from phonograph.errors import ConfigurationError
from phonograph.options import check_different, check_options, option, without_effect


@dataclass(frozen=True, kw_only=True)
class LearningCurveSettings:
    """Which sizes, seeds and tests, and what is held equal between sizes; networks are those of ``[training]``."""

    sizes: tuple[int, ...] = option(
        (25, 50, 100, 200, 400, 800, 1600),
        "Numbers of labels; each subset holds the smaller ones. Sizes that a collection cannot fill are left out and "
        "named.",
        minimum=4,
    )
    seeds: tuple[int, ...] = option(
        tuple(range(10)),
        "Each seed draws its own split, subsets, initial weights and order of samples; ten or more for claims.",
        seed=True,
    )
    collections: tuple[str, ...] = option(
        (),
        "Training collections; empty: all of [training.collections]. A collection of several sets takes an equal share "
        "of each.",
    )
    tests: tuple[str, ...] = option(
        (), "Sets and collections to test on; empty: every set, and every collection of several sets."
    )
    targets: tuple[str, ...] = option((), "Label columns to learn; empty: those of [training].")
    fractions: tuple[float, ...] = option(
        (0.70, 0.15, 0.15), "Train, validation and test share of every set; groups stay together."
    )
    validation: str = option(
        "inside",
        "'inside': a size counts every label a fit looks at, its share of the validation part included; 'outside': it "
        "counts training labels only, and the whole validation part stops the training at every size.",
        choices=("inside", "outside"),
    )
    budget: str = option(
        "epochs",
        "'epochs': as many passes over the data at every size; 'steps': as many updates of the weights at every size "
        "and for every collection as the largest size of any collection takes.",
        choices=("epochs", "steps"),
    )
    choose: str = option(
        "fixed",
        "'fixed': the network and settings of [training] at every size; 'validation': of all combinations of "
        "learning_rates, hidden_channels and dropouts the one with the lowest validation error, anew for every "
        "collection, size and seed.",
        choices=("fixed", "validation"),
    )
    learning_rates: tuple[float, ...] = option(
        (), "Candidates where choose is 'validation'; empty: that of [training.settings].", above=0.0
    )
    hidden_channels: tuple[int, ...] = option(
        (), "Candidates where choose is 'validation'; empty: that of [training.model].", minimum=1
    )
    dropouts: tuple[float, ...] = option(
        (), "Candidates where choose is 'validation'; empty: that of [training.model].", minimum=0.0, maximum=0.95
    )
    amplitude: str = option(
        "",
        "Set whose amplitude the others are matched to: of every other set those samples train and test once more, as "
        "'SET-at-THIS', whose rms displacement of every species lies in the range of this set; empty: none.",
    )
    reference: str = option("", "Collection that the others are compared with; empty: the first.")

    def __post_init__(self) -> None:
        check_options(self, "learning_curve")
        check_different(self, "learning_curve", "sizes", "seeds", "collections", "tests", "targets")
        if not self.sizes or not self.seeds:
            raise ConfigurationError("learning_curve.sizes and .seeds must each name at least one; got none")
        if len(self.fractions) != 3 or abs(sum(self.fractions) - 1.0) > 1e-6 or min(self.fractions) <= 0:
            raise ConfigurationError(
                f"learning_curve.fractions must be three positive shares that add up to 1; got {list(self.fractions)}"
            )
        candidates = (*self.learning_rates, *self.hidden_channels, *self.dropouts)
        if candidates and self.choose == "fixed":
            raise without_effect(
                "learning_curve.learning_rates, hidden_channels and dropouts",
                'add choose = "validation", or leave them out',
            )
        if not candidates and self.choose == "validation":
            raise ConfigurationError(
                'learning_curve.choose = "validation" needs learning_rates, hidden_channels or dropouts'
            )
