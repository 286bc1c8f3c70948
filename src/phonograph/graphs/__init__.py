"""Room 4: from configurations to periodic graphs."""

from phonograph.graphs.build import build_graphs
from phonograph.types import GraphSet, GraphSpec

__all__ = ["GraphSet", "GraphSpec", "build_graphs"]
