"""Every value that crosses a room's border: frozen, checked when made, with read-only arrays.

Units: Å, eV, amu, THz, K, GPa.  Lattice vectors are rows.  Positions are Cartesian.  Stress has ASE's sign
(positive = tensile).  Arrays passed in are copied and made read-only.
"""

from phonograph.types.arrays import (
    MAX_ATOMS,
    MIN_DISTANCE_A,
    BoolArray,
    FloatArray,
    IntArray,
    Progress,
    array_hash,
    read_only,
)
from phonograph.types.bands import Bands
from phonograph.types.configurations import Certificate, Check, Configurations
from phonograph.types.crystals import (
    Crystal,
    ForceConstants,
    Origin,
    Phonons,
    RenormalisationRound,
    Spectrum,
    crystal_hash,
)
from phonograph.types.curves import (
    CurveBand,
    CurvePoint,
    CurvePredictions,
    CurveRow,
    Difference,
    Interval,
    LabelFactor,
    LearningCurve,
    PowerLaw,
)
from phonograph.types.datasets import Dataset
from phonograph.types.graphs import GraphSet, GraphSpec, join_graphs
from phonograph.types.labels import ARRAY_UNITS, PROPERTY_UNITS, ZERO_GAP_EV, LabelColumn, Labels, join_labels
from phonograph.types.networks import Epoch, Fitted, InputScaling, Split, Study, StudyRow, TargetScaling
from phonograph.types.noise import NOISE_CAUSES, NoiseFloor, NoiseRow
from phonograph.types.phonon_results import ImaginaryModes, PhononAudit, PhononProperties
from phonograph.types.protocols import Explainer, GraphModel, Labeller, LabelResult, Sampler
from phonograph.types.results import (
    REFERENCES,
    TRIVIAL_REFERENCES,
    BondImportance,
    Evaluation,
    Explanation,
    Fidelity,
    Metric,
    MetricInterval,
    MetricSummary,
    Predictions,
    Skill,
    ThermalCurve,
    ThermalPoint,
)
from phonograph.types.trajectories import Trajectory, join_trajectories
from phonograph.types.trajectory_match import displacements, first_frame, matched, require_time_step

__all__ = [
    "ARRAY_UNITS",
    "MAX_ATOMS",
    "MIN_DISTANCE_A",
    "NOISE_CAUSES",
    "PROPERTY_UNITS",
    "REFERENCES",
    "TRIVIAL_REFERENCES",
    "ZERO_GAP_EV",
    "Bands",
    "BondImportance",
    "BoolArray",
    "Certificate",
    "Check",
    "Configurations",
    "Crystal",
    "CurveBand",
    "CurvePoint",
    "CurvePredictions",
    "CurveRow",
    "Dataset",
    "Difference",
    "Epoch",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Fidelity",
    "Fitted",
    "FloatArray",
    "ForceConstants",
    "GraphModel",
    "GraphSet",
    "GraphSpec",
    "ImaginaryModes",
    "InputScaling",
    "IntArray",
    "Interval",
    "LabelColumn",
    "LabelFactor",
    "LabelResult",
    "Labeller",
    "Labels",
    "LearningCurve",
    "Metric",
    "MetricInterval",
    "MetricSummary",
    "NoiseFloor",
    "NoiseRow",
    "Origin",
    "PhononAudit",
    "PhononProperties",
    "Phonons",
    "PowerLaw",
    "Predictions",
    "Progress",
    "RenormalisationRound",
    "Sampler",
    "Skill",
    "Spectrum",
    "Split",
    "Study",
    "StudyRow",
    "TargetScaling",
    "ThermalCurve",
    "ThermalPoint",
    "Trajectory",
    "array_hash",
    "crystal_hash",
    "displacements",
    "first_frame",
    "join_graphs",
    "join_labels",
    "join_trajectories",
    "matched",
    "read_only",
    "require_time_step",
]
