"""Phonograph: from a relaxed crystal to a trustworthy, explained model of its properties at temperature.

The eight verbs, in the order in which data flows, are :func:`compute_phonons`, :func:`sample`, :func:`label`,
:func:`build_graphs`, :func:`fit`, :func:`evaluate`, :func:`explain` and :func:`predict_thermal`;
:func:`run` composes them.  Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "phonograph.phonons": (
        "compute_phonons",
        "relax",
        "CalculatorForces",
        "AseForces",
        "Relaxation",
        "Renormalisation",
        "ModeProjection",
        "ForceRegression",
        "MolecularDynamics",
        "molecular_dynamics",
    ),
    "phonograph.phonons.audit": ("audit",),
    "phonograph.phonons.properties": ("phonon_properties",),
    "phonograph.audit_checks": ("audit_lines",),
    "phonograph.sampling": (
        "sample",
        "certify",
        "ThermalSampler",
        "SignSampler",
        "ZGSampler",
        "SobolSampler",
        "DebyeSampler",
        "RattleSampler",
        "PaperEq3Sampler",
        "PaperEq2Sampler",
        "PaperCodeSampler",
        "MatchedRandomSampler",
        "PairMatchedSampler",
        "SnapshotSampler",
        "match_labels",
        "occupation_weights",
        "reweight",
        "Substitution",
    ),
    "phonograph.labels": (
        "label",
        "label_costs",
        "label_status",
        "export_store",
        "open_store",
        "ChgnetLabeller",
        "XtbLabeller",
        "EmtLabeller",
        "AseLabeller",
    ),
    "phonograph.labels.engines.cp2k": ("Cp2kLabeller",),
    "phonograph.labels.engines.vasp": ("VaspLabeller",),
    "phonograph.labels.engines.espresso": ("EspressoLabeller",),
    "phonograph.execution.cluster": ("ParslExecutor",),
    "phonograph.execution.cluster_settings": ("ClusterSettings",),
    "phonograph.labels.noise": ("measure_noise",),
    "phonograph.labels.symmetry": ("symmetry_test",),
    "phonograph.labels.folding": ("check_folding",),
    "phonograph.files.user_data": ("read_labelled",),
    "phonograph.files.vasp_tree": ("read_vasp_tree",),
    "phonograph.files.espresso_tree": ("read_espresso_tree",),
    "phonograph.graphs": ("build_graphs",),
    "phonograph.models": ("GraphConvNet", "predict"),
    "phonograph.training": (
        "fit",
        "fit_joint",
        "fit_large",
        "fit_many",
        "FitJob",
        "make_split",
        "run_study",
        "TrainingSettings",
    ),
    "phonograph.files.graph_shards": ("load_shards", "write_shards"),
    "phonograph.evaluation": (
        "evaluate",
        "cross_test",
        "fit_references",
        "metric_intervals",
        "paired_difference",
        "corrected_t",
        "holm",
        "fit_power_law",
    ),
    "phonograph.evaluation.settings": ("LearningCurveSettings",),
    "phonograph.explanation": ("explain", "GNNExplainerSettings"),
    "phonograph.thermal": ("predict_thermal",),
    "phonograph.steps.prediction": ("predict_structures",),
    "phonograph.files.predictions": ("save_predictions",),
    "phonograph.bridges.ase_calculator": ("PhonographCalculator",),
    "phonograph.bridges.pyg": ("to_pyg", "from_pyg"),
    "phonograph.pipeline": ("run", "study", "learning_curve", "paper"),
    "phonograph.config_study": ("StudyConfig",),
    "phonograph.config_paper": ("PaperConfig",),
    "phonograph.jobs": ("Job", "run_jobs"),
    "phonograph.config": ("Config",),
    "phonograph.config_files": ("read_config",),
    "phonograph.files.structures": ("read_structure",),
    "phonograph.files.force_constants": ("read_force_constants",),
    "phonograph.files.displacements": ("write_displacements",),
    "phonograph.files.collect": ("collect_forces",),
    "phonograph.files.trajectory_readers": ("read_trajectory",),
    "phonograph.datasets": ("load_dataset", "dataset_names"),
    "phonograph.files.datasets": ("save_dataset",),
    "phonograph.files.bundle": ("load_bundle", "save_bundle"),
    "phonograph.types": (
        "Configurations",
        "Crystal",
        "Dataset",
        "Evaluation",
        "Explainer",
        "Explanation",
        "Fitted",
        "ForceConstants",
        "GraphModel",
        "GraphSet",
        "GraphSpec",
        "Labeller",
        "LabelColumn",
        "LabelResult",
        "Labels",
        "LearningCurve",
        "Origin",
        "Phonons",
        "Sampler",
        "Certificate",
        "Split",
        "StructurePredictions",
        "Study",
        "ThermalCurve",
        "Trajectory",
        "displacements",
        "matched",
    ),
    "phonograph.errors": ("UserError",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use, so that ``import phonograph`` does no work."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'phonograph' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
