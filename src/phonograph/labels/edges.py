"""Band gap and band edges by counting electrons: see :mod:`phonograph.band_edges`, which readers of files share."""

from __future__ import annotations

from phonograph.band_edges import (
    CBM,
    CBM_MEAN,
    DIRECT_GAP,
    GAP,
    VBM,
    VBM_MEAN,
    WHOLE,
    band_edges,
    chosen,
    occupied_bands,
)

__all__ = ["CBM", "CBM_MEAN", "DIRECT_GAP", "GAP", "VBM", "VBM_MEAN", "WHOLE", "band_edges", "chosen", "occupied_bands"]
