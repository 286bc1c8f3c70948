"""Room 5: from graphs and labels to trained networks.  Importing this does not import torch."""

from phonograph.training.fit import fit
from phonograph.training.leakage import check_leaks, find_leaks
from phonograph.training.parallel import FitJob, fit_many
from phonograph.training.settings import TrainingSettings, paper_settings
from phonograph.training.split import combine_splits, make_split
from phonograph.training.study import run_study

__all__ = [
    "FitJob",
    "TrainingSettings",
    "check_leaks",
    "combine_splits",
    "find_leaks",
    "fit",
    "fit_many",
    "make_split",
    "paper_settings",
    "run_study",
]
