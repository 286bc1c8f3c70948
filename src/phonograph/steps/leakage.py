"""Room 5, before anything is trained: whether the splits of a run keep related samples together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from phonograph.files.rows import read_rows, write_rows
from phonograph.training import check_leaks, find_leaks
from phonograph.training.leakage import PARTS
from phonograph.types import Configurations, GraphSet, Leak, LeakageAudit, Split

TABLE = "leaks.csv"


def audit_splits(
    folder: Path,
    graphs: GraphSet,
    sets: Sequence[Configurations],
    splits: Iterable[Mapping[int, Split]],
    allow: Sequence[str],
) -> LeakageAudit:
    """Audit the splits of all collections together and write ``leaks.csv``; raise one sentence where they leak.

    Networks of one collection are tested on the others, so a leak between collections counts, and so does one between
    a training part and a set that is only tested.

    Parameters
    ----------
    folder
        Where the table is written, also when the run is refused.
    graphs, sets
        All samples.
    splits
        Of each collection, by seed.
    allow
        Kinds of leaks that do not stop the run.
    """
    leaks = find_leaks(graphs, [_whole(by_seed, sets) for by_seed in _by_seed(splits).values()], sets)
    write_rows(folder / TABLE, Leak, leaks)
    return check_leaks(leaks, allow, str(folder / TABLE))


def load_audit(folder: Path, allow: Sequence[str]) -> LeakageAudit:
    """Return what :func:`audit_splits` found."""
    return check_leaks(read_rows(folder / TABLE, Leak), allow)


def _by_seed(splits: Iterable[Mapping[int, Split]]) -> dict[int, list[Split]]:
    found: dict[int, list[Split]] = {}
    for by_seed in splits:
        for seed, split in by_seed.items():
            found.setdefault(seed, []).append(split)
    return found


def _whole(splits: Sequence[Split], sets: Sequence[Configurations]) -> Split:
    """Return the union of the splits of one seed; sets that no collection trains on are tested whole."""
    parts: dict[str, dict[str, None]] = {
        name: dict.fromkeys(sample for split in splits for sample in getattr(split, name)) for name in PARTS
    }
    used = {sample for part in parts.values() for sample in part}
    for item in sets:
        if not used.intersection(item.ids):
            parts["test"] |= dict.fromkeys(item.ids)
    return Split(**{name: tuple(parts[name]) for name in PARTS}, seed=splits[0].seed)
