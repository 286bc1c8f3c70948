"""Progress of long work on a terminal or in a log file; nothing else prints."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO


class Console:
    """Tell what is going on: bars on a terminal, one line now and then in a log.

    Use as a context manager; :meth:`progress` is the callback that rooms take.
    """

    def __init__(
        self, stream: TextIO | None = None, *, quiet: bool = False, seconds_between_lines: float = 5.0
    ) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._seconds = seconds_between_lines
        self._started: dict[str, float] = {}
        self._done: dict[str, int] = {}
        self._found: dict[str, int] = {}
        self._last_line: dict[str, float] = {}
        self._bars = None
        self._tasks: dict[str, Any] = {}
        if self._stream.isatty() and not quiet:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=RichConsole(file=self._stream),
                transient=True,
            )

    def __enter__(self) -> Console:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """Print one line."""
        if self._quiet:
            return
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` pieces of ``what`` are finished."""
        now = time.monotonic()
        if done < self._done.get(what, 0):
            # The same kind of work began anew; its clock starts again.
            del self._started[what]
        self._done[what] = done
        if what not in self._started:
            # What an earlier run had done says nothing about the speed of this one.
            self._found[what] = done
        start = self._started.setdefault(what, now)
        if self._bars is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total, completed=done)
            self._bars.update(self._tasks[what], completed=done, total=total, visible=done < total)
        elif now - self._last_line.get(what, start) >= self._seconds:
            self._last_line[what] = now
            fresh = done - self._found[what]
            left = f", about {(now - start) / fresh * (total - done):.0f} s left at this rate" if fresh > 0 else ""
            self.say(f"  {what}: {done}/{total}{left}")
