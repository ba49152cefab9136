"""What a suite of benchmarks consists of."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

# The environment of the interpreter that runs the harness.
HERE = "here"
# The name of the case in every setting that measures the machine itself.
MACHINE = "machine"
# Backends of Keras that use an accelerator.
ACCELERATED = ("jax", "torch")


@dataclasses.dataclass(frozen=True)
class Case:
    """One that is timed in alternation with others, in a process of its own.

    Args:
      name: as results and tables have it.
      program: a module of `benchmarks.cases`; see `harness.worker`.
      job: what the program is to prepare, as JSON values.
      environment: `HERE`, or a file of `benchmarks/requirements`.
      files: entry of the job -> what `cases.files` makes; the entry gets the
        path.
      variables: of the process's environment.
      absent: why it cannot run, where that is known beforehand.
    """

    name: str
    program: str
    job: Mapping[str, Any]
    environment: str = HERE
    files: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    absent: str = ""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is compared at a time.

    Args:
      labels: what tells it from the others, by column of the table.
      cases: in alternation.
      reference: name of the case that ratios are relative to.
      threads: of each process.
    """

    labels: Mapping[str, Any]
    cases: tuple[Case, ...]
    reference: str
    threads: int

    def title(self) -> str:
        """Returns the labels as a line."""
        return ", ".join(f"{k} {v}" for k, v in self.labels.items())


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a suite's table.

    Args:
      key: of what a turn measures; less is better.
      header: with the unit.
      form: how it is printed: "rate" (as many of `facts["images"]` in a
        second), "ms" (of seconds), "s", "MB" (of bytes) or "%".
    """

    key: str
    header: str
    form: str


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line asks of a suite.

    Args:
      quick: one round on small networks.
      networks: instead of the suite's own; empty for these.
      threads: instead of the suite's own; empty for these.
      turn_seconds: about how long a turn takes.
      cache: folder of environments, of files and of what is sampled.
      photos: folder with train/ and val/; empty for images that are made.
      pycls: folder of a checkout of pycls; empty for none.
      sweep: folder of a sampled sweep; empty for one of the digits.
    """

    quick: bool = False
    networks: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    turn_seconds: float = 2.0
    cache: pathlib.Path = pathlib.Path("build/benchmarks")
    photos: str = ""
    pycls: str = ""
    sweep: str = ""


@dataclasses.dataclass(frozen=True)
class Suite:
    """A table of results.

    Args:
      name: of `--suite`.
      purpose: a line for the help.
      settings: returns what is compared.
      columns: the first is what ratios are made of.
      fresh: whether each turn has a process of its own, for what happens once
        in a process.
      rounds: by default.
      accelerator: whether it needs one.
    """

    name: str
    purpose: str
    settings: Callable[[Options], list[Setting]]
    columns: tuple[Column, ...]
    fresh: bool = False
    rounds: int = 5
    accelerator: bool = False
