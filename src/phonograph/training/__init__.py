"""Room 5: from graphs and labels to trained networks.  Importing this does not import torch."""

from phonograph.training.fit import fit, fit_joint
from phonograph.training.jobs import FitJob, TimedFit
from phonograph.training.large import fit_large
from phonograph.training.leakage import check_leaks, find_leaks
from phonograph.training.parallel import fit_many
from phonograph.training.settings import TrainingSettings, paper_code_settings, paper_settings
from phonograph.training.split import combine_splits, make_split
from phonograph.training.stack import fit_stack, plan_stacks
from phonograph.training.study import run_study

__all__ = [
    "FitJob",
    "TimedFit",
    "TrainingSettings",
    "check_leaks",
    "combine_splits",
    "find_leaks",
    "fit",
    "fit_joint",
    "fit_large",
    "fit_many",
    "fit_stack",
    "make_split",
    "paper_code_settings",
    "paper_settings",
    "plan_stacks",
    "run_study",
]
