"""Room 3: properties of displaced crystals from electronic-structure engines, kept in a store on disk.

``label`` looks each configuration up in the store, computes what is missing in worker processes, and returns a
table in which every failure is a named hole.
"""

from __future__ import annotations

from phonograph.labels.costs import LabelCosts, label_costs, save_costs
from phonograph.labels.engines.calculators import AseLabeller, ChgnetLabeller, EmtLabeller
from phonograph.labels.engines.tight_binding import XtbLabeller
from phonograph.labels.exports import Export, export_store
from phonograph.labels.failures import FAILURES
from phonograph.labels.folding import FoldingResult, check_folding, manifold_sizes
from phonograph.labels.noise import measure_noise
from phonograph.labels.status import LabelStatus, label_status
from phonograph.labels.store import LabelStore, open_store
from phonograph.labels.symmetry import SymmetryResult, SymmetryTolerances, symmetry_test
from phonograph.labels.unfolding import check_folding_at_gamma, unfolded_bands
from phonograph.labels.verb import label

__all__ = [
    "FAILURES",
    "AseLabeller",
    "ChgnetLabeller",
    "EmtLabeller",
    "Export",
    "FoldingResult",
    "LabelCosts",
    "LabelStatus",
    "LabelStore",
    "SymmetryResult",
    "SymmetryTolerances",
    "XtbLabeller",
    "check_folding",
    "check_folding_at_gamma",
    "export_store",
    "label",
    "label_costs",
    "label_status",
    "manifold_sizes",
    "measure_noise",
    "open_store",
    "save_costs",
    "symmetry_test",
    "unfolded_bands",
]
