"""Room 3: properties of displaced crystals from electronic-structure engines, kept in a store on disk.

``label`` looks each configuration up in the store, computes what is missing in worker processes, and returns a
table in which every failure is a named hole.
"""

from __future__ import annotations

from phonograph.labels.engines.calculators import AseLabeller, ChgnetLabeller, EmtLabeller
from phonograph.labels.engines.tight_binding import XtbLabeller
from phonograph.labels.failures import FAILURES
from phonograph.labels.store import LabelStore, open_store
from phonograph.labels.verb import label

__all__ = [
    "FAILURES",
    "AseLabeller",
    "ChgnetLabeller",
    "EmtLabeller",
    "LabelStore",
    "XtbLabeller",
    "label",
    "open_store",
]
