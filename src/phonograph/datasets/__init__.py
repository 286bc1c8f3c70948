"""Datasets that come with Phonograph and load without a network."""

from __future__ import annotations

import os
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.files.datasets import load_dataset_folder
from phonograph.types import Dataset

SHIPPED = Path(__file__).parent


def dataset_names() -> tuple[str, ...]:
    """Return the names of the datasets that come with this installation."""
    return tuple(sorted(folder.name for folder in SHIPPED.iterdir() if (folder / "dataset.json").is_file()))


def dataset_folder(name: str) -> Path:
    """Return the folder of one of :func:`dataset_names`."""
    return SHIPPED / name


def load_dataset(name: str | os.PathLike[str]) -> Dataset:
    """Load a dataset that comes with Phonograph, or one from a folder.

    Every file is checked against its SHA-256.  ``load_dataset(name).card`` says how it was made and what it must not
    be used for.

    Parameters
    ----------
    name
        One of :func:`dataset_names`, for example ``"ag3sx-gfn1"``, or the path of a folder that
        :func:`phonograph.files.datasets.save_dataset` wrote.

    Raises
    ------
    InputFileError
        An unknown name, or a file that is missing or damaged.

    Examples
    --------
    >>> data = load_dataset("ag3sx-gfn1")
    >>> [s.name for s in data.sets]
    ['thermal', 'random', 'matched', 'md', 'static', 'regression']
    """
    if isinstance(name, str) and name in dataset_names():
        return load_dataset_folder(dataset_folder(name))
    if Path(name).is_dir():
        return load_dataset_folder(name)
    raise InputFileError(no_dataset(str(name)))


def no_dataset(name: str, where: str = "") -> str:
    """Return the sentence about a dataset that there is not; ``where`` says in what it is named."""
    return (
        f"no dataset {name[:80]!r}{where}: give the path of a dataset's folder, or one of {', '.join(dataset_names())}"
    )
