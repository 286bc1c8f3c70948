"""The method, executable: crystal → phonons → configurations → labels → graphs → networks → property(T).

Read :func:`run` top to bottom.  This is the only module that composes rooms; each step loads what is finished
and makes what is not.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phonograph.atomic import write_text
from phonograph.config import Config, read_config, to_toml, unit_of
from phonograph.errors import ConfigurationError, DataError
from phonograph.evaluation import cross_test
from phonograph.explanation import explain
from phonograph.files.bundle import load_bundle, save_bundle
from phonograph.files.configurations import load_configurations, save_configurations
from phonograph.files.graphs import load_graphs, save_graphs
from phonograph.files.labels import load_labels, save_labels
from phonograph.files.phonons import load_phonons, save_phonons
from phonograph.files.structures import read_structure
from phonograph.graphs import build_graphs
from phonograph.labels import label
from phonograph.phonons import compute_phonons, relax
from phonograph.run_folder import STAGES, RunFolder, open_run
from phonograph.sampling import MatchedRandomSampler, sample, set_statistics
from phonograph.streams import derive_seed
from phonograph.tables import to_table
from phonograph.thermal import predict_thermal
from phonograph.types import (
    Configurations,
    Crystal,
    Evaluation,
    Explanation,
    Fitted,
    GraphSet,
    Labels,
    Phonons,
    Progress,
    SetStatistics,
    Study,
    ThermalCurve,
)
