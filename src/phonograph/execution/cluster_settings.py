"""Settings of labels on a cluster: what one block (one job of the queue) holds, and how many of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from phonograph.errors import ConfigurationError
from phonograph.options import check_options, option

_PLAIN = re.compile(r"[A-Za-z0-9._:/+=,-]*")
_WALLTIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)")


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Labels in the jobs of a cluster's queue; every job is a block of workers that takes label after label."""

    cores_per_node: int = option(help="Cores that a block asks for on each of its nodes.", minimum=1)
    scheduler: str = option(
        "slurm",
        "Who starts the blocks: 'slurm', or 'local' (this machine, to try the settings without a queue).",
        choices=("slurm", "local"),
    )
    partition: str = option("", "Partition (queue); empty: the cluster's default.")
    account: str = option("", "Account that pays; empty: your default.")
    qos: str = option("", "Quality of service; empty: your default.")
    walltime: str = option("01:00:00", "Time limit of a block, HH:MM:SS or D-HH:MM:SS; more than one label takes.")
    nodes_per_block: int = option(1, "Nodes of one block.", minimum=1)
    workers_per_node: int = option(
        0, "Labels at a time on a node; 0: as many as its cores and memory_per_node_GB allow.", minimum=0
    )
    memory_per_node_GB: int = option(0, "Memory that a block asks for on each node, GB; 0: the default.", minimum=0)
    min_blocks: int = option(0, "Blocks that are kept even when there is nothing to do.", minimum=0)
    init_blocks: int = option(1, "Blocks asked for at the start.", minimum=0)
    max_blocks: int = option(1, "Most blocks in the queue at a time.", minimum=1)
    worker_init: tuple[str, ...] = option(
        (), "Lines of shell that every block runs first (module load, source activate); your own code."
    )
    scheduler_options: tuple[str, ...] = option((), "Further options of sbatch, each like '--gres=gpu:1'.")
    python: str = option("", "Python of the nodes, where Phonograph is installed; empty: the one that runs now.")
    address: str = option("", "Address of this machine that the nodes can reach; empty: they try all it has.")
    ports: tuple[int, ...] = option(
        (54000, 55000), "First and last port on which this machine listens.", minimum=1024, maximum=65535
    )
    folder: str = option(
        "", "Folder that this machine and the nodes share, for job scripts and logs; empty: beside the label store."
    )
    detach: bool = option(
        False, "Blocks outlive this process and finish what they were given; the next run takes their labels."
    )
    retries: int = option(
        2, "How often a label moves to another block when its block ends (cancelled, node failure).", minimum=0
    )
    poll_s: float = option(15.0, "How often the queue is asked about the blocks, s.", minimum=1.0)
    idle_s: float = option(60.0, "A block with nothing to do for this long is given back, s.", above=0.0)
    heartbeat_s: int = option(5, "How often workers say that they live, s.", minimum=1)
    heartbeat_limit_s: int = option(30, "Silence after which a block, or this process, counts as dead, s.", minimum=3)

    def __post_init__(self) -> None:
        check_options(self, "executor")
        for item in fields(self):
            value = getattr(self, item.name)
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and item.name != "worker_init":
                    _check_plain(item.name, text)
        _check_options(self.scheduler_options)
        _check_lines(self.worker_init)
        if len(self.ports) != 2 or self.ports[0] >= self.ports[1]:
            raise ConfigurationError(f"executor.ports must be the first and the last port; got {self.ports}")
        if not self.min_blocks <= self.max_blocks or not self.init_blocks <= self.max_blocks:
            raise ConfigurationError(
                f"executor.min_blocks and init_blocks must be at most max_blocks = {self.max_blocks}; "
                f"got {self.min_blocks} and {self.init_blocks}"
            )
        if self.heartbeat_limit_s < 2 * self.heartbeat_s:
            raise ConfigurationError(
                f"executor.heartbeat_limit_s must be at least twice heartbeat_s = {self.heartbeat_s}; "
                f"got {self.heartbeat_limit_s}"
            )
        if self.walltime_s < 60:
            raise ConfigurationError(f"executor.walltime must be at least 00:01:00; got {self.walltime!r}")

    @property
    def walltime_s(self) -> int:
        """Time limit of a block, s."""
        match = _WALLTIME.fullmatch(self.walltime)
        if match is None:
            raise ConfigurationError(f"executor.walltime must look like 02:30:00 or 1-00:00:00; got {self.walltime!r}")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((24 * days + hours) * 60 + minutes) * 60 + seconds

    def workers(self, cores: int, memory_GB: float) -> int:
        """Return how many labels of ``cores`` cores and ``memory_GB`` each a node takes at a time.

        Raises
        ------
        ConfigurationError
            A node on which not even one of them fits.
        """
        if cores > self.cores_per_node:
            raise ConfigurationError(
                f"a label needs {cores} cores and executor.cores_per_node is {self.cores_per_node}; raise it"
            )
        if self.memory_per_node_GB and memory_GB > self.memory_per_node_GB:
            raise ConfigurationError(
                f"a label needs {memory_GB:g} GB and executor.memory_per_node_GB is {self.memory_per_node_GB}; raise it"
            )
        if self.workers_per_node:
            return self.workers_per_node
        by_memory = int(self.memory_per_node_GB / memory_GB) if self.memory_per_node_GB and memory_GB > 0 else 10**6
        return max(1, min(self.cores_per_node // max(1, cores), by_memory))

    def drain_s(self, longest_label_s: float) -> int:
        """Return the age at which a block takes no further labels, s: its walltime less the longest label.

        Raises
        ------
        ConfigurationError
            A walltime in which the longest label that the time limit allows may not end.
        """
        # Slurm is asked for whole minutes.
        drain = self.walltime_s // 60 * 60 - longest_label_s - END_S
        if drain < START_S:
            raise ConfigurationError(
                f"executor.walltime {self.walltime} leaves no time for a label of {longest_label_s:g} s (its "
                f"time limit and a margin); raise it above {longest_label_s + END_S + START_S:.0f} s, or lower "
                "labels.timeout_s"
            )
        return int(drain)


START_S = 5.0
"""Least time a block must have for starting labels, s."""

END_S = 10.0
"""Time that a block keeps for ending in order, s."""


def _check_plain(name: str, text: str) -> None:
    if not _PLAIN.fullmatch(text):
        raise ConfigurationError(
            f"executor.{name} may have letters, digits and . _ : / + = , - only, because it is written into job "
            f"scripts; got {text!r}"
        )


def _check_options(options: tuple[str, ...]) -> None:
    for text in options:
        if not text.startswith("--"):
            raise ConfigurationError(
                f"executor.scheduler_options must be like '--gres=gpu:1', one option each; got {text!r}"
            )


def _check_lines(lines: tuple[str, ...]) -> None:
    for line in lines:
        if any(ord(letter) < 32 and letter != "\t" for letter in line):
            raise ConfigurationError(f"executor.worker_init must be one line of shell each; got {line!r}")
        if line.lstrip().startswith("#SBATCH"):
            raise ConfigurationError(
                f"executor.worker_init comes after the options of sbatch; put {line!r} into scheduler_options"
            )
