"""The messages between a sweep's driver and its workers: lines of JSON.

The driver sends `Job`; a worker sends `Ready` once, then an `Outcome` for
each job.
"""

import dataclasses
import json

from keras_regnet.design_space import records


@dataclasses.dataclass(frozen=True)
class Job:
    """One attempt at a trial.

    Args:
      trial: what is to be trained.
      attempt: 1 for the first.
      test: whether the error is measured on the test images, in place of the
        part that networks are chosen by.
    """

    trial: records.Trial
    attempt: int = 1
    test: bool = False

    def to_json(self) -> str:
        """Returns the message as one line."""
        values = {"trial": self.trial.to_dict(), "attempt": self.attempt}
        return json.dumps({**values, "test": self.test})

    @classmethod
    def from_json(cls, line: str | bytes) -> "Job":
        """Returns the job that a line describes."""
        values = json.loads(line)
        trial = records.Trial.from_dict(values["trial"], "job")
        return cls(trial, values["attempt"], values["test"])


@dataclasses.dataclass(frozen=True)
class Ready:
    """The worker can take a job."""

    def to_json(self) -> str:
        """Returns the message as one line."""
        return json.dumps({"kind": "ready"})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a job."""

    record: records.Record

    def to_json(self) -> str:
        """Returns the message as one line."""
        values = {"kind": "outcome", "record": self.record.to_dict()}
        return json.dumps(values, allow_nan=False)


def from_worker(line: str | bytes) -> Ready | Outcome:
    """Returns the message of a worker that a line describes."""
    values = json.loads(line)
    if values["kind"] == "ready":
        return Ready()
    return Outcome(records.Record.from_dict(values["record"], "outcome"))
