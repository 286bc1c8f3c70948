"""Whether what a run is to learn is there, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from phonograph.errors import ConfigurationError
from phonograph.tables import nearest
from phonograph.types import Labels


def check_targets(option: str, targets: Sequence[str], labels: Labels) -> None:
    """Refuse targets that are no labels.

    Parameters
    ----------
    option
        Where the user named them.
    targets, labels
        What is wanted, and what there is.

    Raises
    ------
    ConfigurationError
        Naming the option, the target, and the label that may have been meant or all that there are.
    """
    have = [column.name for column in labels.columns]
    for target in targets:
        if target not in have:
            raise ConfigurationError(
                f"{option} names {target!r}, which is no label of this run; {nearest(target, have)}"
            )
