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
from phonograph.labels.status import LabelStatus, label_status
from phonograph.labels.store import LabelStore, open_store
from phonograph.labels.verb import label

__all__ = [
    "FAILURES",
    "AseLabeller",
    "ChgnetLabeller",
    "EmtLabeller",
    "Export",
    "LabelCosts",
    "LabelStatus",
    "LabelStore",
    "XtbLabeller",
    "export_store",
    "label",
    "label_costs",
    "label_status",
    "open_store",
    "save_costs",
]
