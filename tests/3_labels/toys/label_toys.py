"""Small crystals, and calculators that are slow, hang, raise, lie or die."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, SCFError, all_changes

from phonograph.labels.engines.program import run_program
from phonograph.labels.failures import failure
from phonograph.types import Configurations, Crystal, LabelResult


def crystal_of(atoms) -> Crystal:
    return Crystal(cell_A=atoms.cell[:], positions_A=atoms.positions, numbers=atoms.numbers)


def displaced(atoms, scale_A: float, seed: int = 0) -> Crystal:
    copy = atoms.copy()
    copy.positions += np.random.default_rng(seed).normal(0, scale_A, copy.positions.shape)
    return crystal_of(copy)


def configurations_of(crystals, name: str = "toy") -> Configurations:
    return Configurations.of_crystals(name, crystals, [str(place) for place in range(len(crystals))])


def copper(count: int, name: str = "toy", size: int = 1) -> Configurations:
    atoms = bulk("Cu", cubic=True) * (size, size, size)
    return configurations_of([displaced(atoms, 0.05, seed) for seed in range(count)], name)


def marked(crystal: Crystal, times: int = 1) -> Crystal:
    """Return the crystal with its first atom far down the x axis, which the toys take as a sign."""
    positions = crystal.positions_A.copy()
    positions[0, 0] -= times * 1000 * crystal.cell_A[0, 0]
    return Crystal(cell_A=crystal.cell_A, positions_A=positions, numbers=crystal.numbers)


def write_log(positions) -> None:
    log = os.environ.get("LABEL_TOY_LOG")
    if log:
        name = hashlib.sha256((np.asarray(positions) + 0.0).tobytes()).hexdigest()[:16]
        with Path(log).open("a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()} {name}\n")


class Toy(Calculator):
    """E = Σ cos x, and a constant stress; ``behave`` decides what happens to marked structures."""

    implemented_properties = ("energy", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        write_log(atoms.positions)
        time.sleep(float(os.environ.get("LABEL_TOY_SECONDS", "0")))
        self.results = {"energy": float(np.cos(atoms.positions).sum()), "stress": np.full(6, 0.01)}
        if atoms.positions[0, 0] < -100:
            self.behave()

    def behave(self):
        pass


class Hanging(Toy):
    def behave(self):
        time.sleep(3600)


class Stopped(Toy):
    """Not even the system's clock ends a process that is stopped."""

    def behave(self):
        os.kill(os.getpid(), signal.SIGSTOP)


class Leaving(Toy):
    def behave(self):
        sys.exit(0)


class Vanishing(Toy):
    def behave(self):
        os._exit(0)


class Deaf(Toy):
    """Ignores what can be ignored, forks twice, prints without end and never returns."""

    def behave(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(2):
            if os.fork() == 0:
                os.setsid()
                write_log(np.zeros(3))
                time.sleep(3600)
        while True:
            os.write(2, b"x" * 1_000_000)


class Raising(Toy):
    def behave(self):
        raise RuntimeError("the toy\nis broken")


class Diverging(Toy):
    def behave(self):
        raise SCFError("no self-consistency")


class Lying(Toy):
    def behave(self):
        self.results["energy"] = float("nan")


class Dying(Toy):
    def behave(self):
        os.kill(os.getpid(), signal.SIGKILL)


def first_time(what: str) -> bool:
    flag = Path(os.environ["LABEL_TOY_LOG"] + what)
    if flag.exists():
        return False
    flag.touch()
    return True


class DyingOnce(Toy):
    def behave(self):
        if first_time("died"):
            os.kill(os.getpid(), signal.SIGSEGV)


class RaisingOnce(Toy):
    def behave(self):
        if first_time("raised"):
            raise RuntimeError("try again")


class Noisy(Toy):
    def behave(self):
        os.write(1, b"x" * 1_000_000)
        sys.stdout.write("noise")


NOT_A_FUNCTION = 3


@dataclass(frozen=True, kw_only=True)
class HalfLabeller:
    """Promises two properties and gives one."""

    provides: tuple[str, ...] = ("energy_eV_per_atom", "dipole_eA")
    engine: str = "half 1"
    extra: object = None

    def label(self, crystal: Crystal) -> LabelResult:
        return LabelResult(values={"dipole_eA": 1.0})


@dataclass(frozen=True, kw_only=True)
class GapLabeller:
    """A gap that depends on the first atom: zero, or one."""

    provides: tuple[str, ...] = ("band_gap_eV",)
    engine: str = "gap 1"

    def label(self, crystal: Crystal) -> LabelResult:
        return LabelResult(values={"band_gap_eV": 0.0 if crystal.positions_A[0, 0] < -100 else -0.0 + 1.0})


def make_missing():
    """Succeed where the labeller is made, fail where it is used."""
    from phonograph.errors import MissingEngineError

    raise MissingEngineError("engine nothing is not installed; install it with: pip install nothing")


class Deadly(Toy):
    """Kills its process: always for a crystal marked once, the first time for one marked more often."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        times = round(-atoms.positions[0, 0] / (1000 * atoms.cell[0, 0]))
        if times == 1 or (times > 1 and first_time(f"died{times}")):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class ProgramLabeller:
    """A shell as engine: writes who it is into the log, naps, and prints an energy and the word that ends its output.

    ``marked_script`` is run instead for marked crystals.
    """

    marked_script: str = ""
    provides: tuple[str, ...] = ("energy_eV_per_atom",)
    engine: str = "shell 1"

    def label(self, crystal: Crystal) -> LabelResult:
        name = hashlib.sha256((crystal.positions_A + 0.0).tobytes()).hexdigest()[:16]
        value = float(np.cos(crystal.positions_A).sum())
        script = 'echo "$$ $1" >> "$LABEL_TOY_LOG"; sleep "$LABEL_TOY_SECONDS"; echo "$2"; echo DONE'
        if self.marked_script and crystal.positions_A[0, 0] < -100:
            script = self.marked_script
        with tempfile.TemporaryDirectory() as folder:
            command = ["sh", "-c", script, "sh", name, value.hex()]
            ran = run_program(command, Path(folder), output="out", largest_file_bytes=3_000_000)
        if ran.timed_out:
            return failure("timeout", f"stopped after {ran.seconds:.0f} s")
        words = ran.tail.split()
        if ran.exit_code or len(words) != 2 or words[1] != "DONE":
            return failure("crashed", f"exit code {ran.exit_code}, the output is not complete")
        return LabelResult(values={"energy_eV_per_atom": float.fromhex(words[0])})


@dataclass(frozen=True, kw_only=True)
class MixingLabeller:
    """Converges only with the mixing that its second remedy brings; marked crystals never do."""

    mixing: float = 0.4
    provides: tuple[str, ...] = ("energy_eV_per_atom",)
    engine: str = "mixing 1"

    def label(self, crystal: Crystal) -> LabelResult:
        if self.mixing > 0.1 or crystal.positions_A[0, 0] < -100:
            return failure("not_converged", f"mixing {self.mixing:g}")
        return LabelResult(values={"energy_eV_per_atom": 1.0})

    def remedy(self, attempt: int, failed: str):
        mixing = 0.4 / 2 ** (attempt - 1)
        return (f"mixing {mixing:g}", replace(self, mixing=mixing)) if failed == "not_converged" else None


@dataclass(frozen=True, kw_only=True)
class WaitingLabeller:
    """Waits until a file is there."""

    file: str
    provides: tuple[str, ...] = ("energy_eV_per_atom",)
    engine: str = "waiting 1"

    def label(self, crystal: Crystal) -> LabelResult:
        if not Path(self.file).exists():
            return failure("waiting", "nobody has calculated it")
        return LabelResult(values={"energy_eV_per_atom": 2.0})


@dataclass(frozen=True, kw_only=True)
class FreeLabeller:
    """Costs nothing, so that what a label costs besides its engine can be measured."""

    provides: tuple[str, ...] = ("energy_eV_per_atom",)
    engine: str = "free 1"

    def label(self, crystal: Crystal) -> LabelResult:
        return LabelResult(values={"energy_eV_per_atom": float(crystal.positions_A[0, 0])})
