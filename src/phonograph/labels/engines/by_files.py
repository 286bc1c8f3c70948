"""Engines that are programs with input and output files: CP2K, VASP, Quantum ESPRESSO."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.execution.pace import duration
from phonograph.files.safety import named_within
from phonograph.labels.engines.jobs import note_job
from phonograph.labels.engines.program import Ran, find_program, mpi_environment, run_program
from phonograph.labels.failures import failure
from phonograph.labels.task import structure_bytes
from phonograph.options import check_options, option
from phonograph.types import Crystal, LabelResult


class Refused(InputFileError):
    """A label that is not tried, of a failure class of its own.

    ``waiting`` and ``engine_missing`` say nothing about the structure and are not stored; ``bad_input`` is.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class FileEngine(ABC):
    """A labeller whose engine is a program that reads and writes files in a folder of its own.

    With ``command``, the program is run.  Without, the inputs are written to ``folder``/<name of the structure> and
    the label waits (a hole called ``waiting``) until someone has run it: call again to read what is finished.
    ``folder``/jobs.csv lists structures and states.

    A result counts only if it is complete, converged and of this very structure and input (see
    :meth:`read_outputs`).
    """

    command: tuple[str, ...] = option(
        (),
        "Program and arguments, such as ['mpirun', '-np', '2', 'cp2k.psmp']; empty: write inputs and wait for files.",
        decides=False,
    )
    folder: str = option(
        "",
        "Folder that keeps a subfolder per structure; empty: a temporary folder, deleted after each label.",
        decides=False,
    )

    OUTPUT: ClassVar[str]
    """Name of the file that gets the program's standard output."""

    RESULTS: ClassVar[tuple[str, ...]]
    """Names of the files by which a run is judged."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.command and not self.folder:
            raise ConfigurationError(
                f"{type(self).__name__} needs a command that runs its program, or a folder to wait for its outputs"
            )

    @abstractmethod
    def write_inputs(self, crystal: Crystal, folder: Path) -> None:
        """Write every input file of one structure; raises :class:`Refused` where that cannot or must not be."""

    @abstractmethod
    def read_outputs(self, crystal: Crystal, folder: Path) -> LabelResult:
        """Read and check the outputs of one structure; a file of another structure or input is the failure crashed.

        Raises
        ------
        InputFileError
            An output that is missing, truncated or malformed.
        """

    @abstractmethod
    def has_outputs(self, folder: Path) -> bool:
        """Return whether ``folder`` holds an output that claims to be finished."""

    def unfinished(self, folder: Path) -> Path | None:
        """Return the output that changed last, for where :meth:`has_outputs` finds none finished; None without any."""
        found = [path for name in self.RESULTS if (path := folder / name).is_file()]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    @abstractmethod
    def another_way(self, attempt: int, failure: str) -> tuple[str, Self] | None:
        """Return what is changed and the changed labeller for a further attempt; None to give up."""

    def remedy(self, attempt: int, failure: str) -> tuple[str, Self] | None:
        """Return another way to the same answer, only where the program is run from here.

        Who waits for files repairs them: an attempt in which nothing runs would be told as one that did.
        """
        return self.another_way(attempt, failure) if self.command else None

    @property
    def tight_folder(self) -> str:
        """The folder of the same engine with tighter settings: one folder belongs to one calculation."""
        return f"{self.folder}-tight" if self.folder else ""

    def arguments(self, folder: Path) -> list[str]:
        """Return the command line; the command as given unless an engine adds its input file."""
        return list(self.command)

    def environment(self) -> Mapping[str, str]:
        """Return variables for the program besides those of this process; those of MPI unless an engine has more."""
        return mpi_environment()

    def clear_outputs(self, folder: Path) -> None:  # noqa: B027 - most engines overwrite theirs
        """Delete what an earlier run left, so that it cannot be taken for the output of the next."""

    def write_guide(self, root: Path) -> None:  # noqa: B027 - a help, not a duty
        """Write into ``folder``, once, what helps a person to run the program on all its subfolders."""

    def label(self, crystal: Crystal) -> LabelResult:
        """Label one crystal: read what is there, else run the program, else write its inputs and wait.

        Outputs that give no label are read again and again while there is no command; with one, the program runs anew.
        """
        with self._workplace(crystal) as folder:
            try:
                result = self._label_in(folder, crystal)
            except InputFileError as error:
                result = failure(getattr(error, "kind", "crashed"), named_within(str(error), folder))
            if self.folder:
                note_job(folder.parent, folder.name, crystal.formula, len(crystal), result.failure or "done")
        return result

    def _label_in(self, folder: Path, crystal: Crystal) -> LabelResult:
        if self.folder and self.has_outputs(folder):
            found = self._read(crystal, folder)
            if not (found.failure and self.command):
                return found
        self.write_inputs(crystal, folder)
        if not self.command:
            self.write_guide(folder.parent)
            return failure("waiting", self._what_waits(folder))
        if find_program(self.command[0]) is None:
            return failure("engine_missing", f"program {self.command[0]!r} is not on this machine's PATH")
        self.clear_outputs(folder)
        ran = run_program(self.arguments(folder), folder, output=self.OUTPUT, environment=self.environment())
        return self._after(ran, crystal, folder)

    def _read(self, crystal: Crystal, folder: Path) -> LabelResult:
        try:
            return self.read_outputs(crystal, folder)
        except InputFileError as error:
            return failure("crashed", named_within(str(error), folder))

    def _what_waits(self, folder: Path) -> str:
        path = self.unfinished(folder)
        if path is None:
            return f"inputs written to {folder.name}; run the program there and label again"
        age = duration(max(0.0, time.time() - path.stat().st_mtime))
        return (
            f"{path.name} in {folder.name} is not finished, last changed {age} ago; wait for the program, or run it "
            "again there if it was stopped or the copy is cut, then label again"
        )

    def _after(self, ran: Ran, crystal: Crystal, folder: Path) -> LabelResult:
        """Judge by the files, and by the exit code where they do not tell."""
        if ran.timed_out:
            return failure("timeout", f"stopped after {ran.seconds:.0f} s")
        try:
            result = self.read_outputs(crystal, folder)
        except InputFileError as error:
            return failure("crashed", f"exit code {ran.exit_code}: {named_within(str(error), folder)}")
        if ran.exit_code and not result.failure:
            return failure("crashed", f"the program ended with exit code {ran.exit_code}")
        return result

    @contextlib.contextmanager
    def _workplace(self, crystal: Crystal) -> Iterator[Path]:
        if self.folder:
            place = Path(self.folder) / structure_bytes(crystal).key.hex()[:16]
            place.mkdir(parents=True, exist_ok=True)
            yield place
            return
        place = Path(tempfile.mkdtemp(prefix="phonograph-"))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
