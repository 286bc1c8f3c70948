"""Room 7: which bonds a model rests on, and whether that holds."""

from __future__ import annotations

from phonograph.explanation.settings import GNNExplainerSettings
from phonograph.explanation.verb import explain

__all__ = ["GNNExplainerSettings", "explain"]
