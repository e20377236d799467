"""Follow a run by its logs: which notebook, how far, how long."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

STARTED = re.compile(r"^(?:local)?(?:rule|checkpoint) (nb\d\d):", re.MULTILINE)
FINISHED = re.compile(r"^Finished jobid: \d+ \(Rule: (nb\d\d)\)", re.MULTILINE)
FAILED = re.compile(r"^Error in rule (nb\d\d)[,:]", re.MULTILINE)
TO_RUN = re.compile(r"^(nb\d\d)\s+\d+\s*$", re.MULTILINE)
CELL = re.compile(r"Executing Cell (\d+)-")


def spoken(seconds: float) -> str:
    """A duration as people say it: `8 s`, `2 min 05 s`, `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class Progress:
    """What Snakemake's log and papermill's logs say so far.

    `names` are the notebooks (`04_vgg16`); the rule of a notebook is `nb04`, its log `logs/04.log`.
    `cells` counts each source's cells. On a terminal one line is kept up to date; elsewhere each
    notebook's start and end is a line.
    """

    snakemake_log: Path
    logs: Path
    names: tuple[str, ...]
    cells: dict[str, int]
    stream: TextIO
    started: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    to_run: list[str] = field(default_factory=list)
    _read: int = 0
    _began: float = field(default_factory=time.monotonic)

    def update(self) -> None:
        """Read what is new and show it."""
        text = self._new_text()
        self.to_run = self.to_run or self._found(TO_RUN, text)
        for name in self._found(STARTED, text):
            self.started[name] = time.monotonic()
            if not self._live:
                self._say(f"  {name:<20} started")
        for name in self._found(FINISHED, text):
            self.finished[name] = time.monotonic() - self.started.get(name, self._began)
            self._say(f"  {name:<20} {spoken(self.finished[name]):>12}   {self._share()}")
        self.failed += [name for name in self._found(FAILED, text) if name not in self.failed]
        if self._live:
            self._show(self._line())

    def close(self) -> None:
        """Take the live line away."""
        if self._live:
            self._show("")

    @property
    def running(self) -> list[str]:
        """Notebooks that have started and neither finished nor failed."""
        return [name for name in self.started if name not in self.finished and name not in self.failed]

    def cell(self, name: str) -> int:
        """Number of the cell that a notebook is at, counted from 1; 0 before the first."""
        log = self.logs / f"{name[:2]}.log"
        try:
            with log.open("rb") as stream:
                stream.seek(max(0, log.stat().st_size - 65536))
                found = CELL.findall(stream.read().decode("utf-8", "replace"))
        except FileNotFoundError:
            return 0
        return int(found[-1]) if found else 0

    @property
    def _live(self) -> bool:
        return self.stream.isatty()

    def _new_text(self) -> str:
        if not self.snakemake_log.is_file():
            return ""
        with self.snakemake_log.open("rb") as stream:
            stream.seek(self._read)
            new = stream.read()
        # A line that is still being written is left for the next look.
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode("utf-8", "replace")

    def _found(self, pattern: re.Pattern[str], text: str) -> list[str]:
        by_rule = {f"nb{name[:2]}": name for name in self.names}
        return [by_rule[rule] for rule in pattern.findall(text) if rule in by_rule]

    def _share(self) -> str:
        return f"{len(self.finished)} of {max(len(self.to_run), len(self.started))}"

    def _line(self) -> str:
        parts = []
        for name in self.running:
            # papermill adds one cell, the parameters that it injects.
            total = self.cells.get(name, 0) + 1
            passed = spoken(time.monotonic() - self.started[name])
            at = self.cell(name)
            parts.append(f"{name}  {f'cell {min(at, total)} of {total}' if at else 'starting'}  {passed}")
        return "  " + ("; ".join(parts) or "looking what there is to do")

    def _say(self, line: str) -> None:
        if self._live:
            self._show("")
        self.stream.write(line + "\n")
        self.stream.flush()

    def _show(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self.stream.write("\r\x1b[K" + line[:width])
        self.stream.flush()
