"""How a sweep is trained: what changes no result of a trial."""

import dataclasses
import math

from keras_regnet import errors

ENGINES = ("local", "ray")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the `train` stage, see `training/sweep.py`.

    Args:
      data_dir: folder of tensorflow-datasets; needed once per sweep.
      engine: one of `ENGINES`.
      ray_address: HOST:PORT of the Ray cluster, or "auto".
      workers: number of processes; None for the machine's cores, or the
        cluster's room.
      threads: cores of each worker; 0 for the backend's choice.
      gpus: GPUs of each worker on a Ray cluster, also a fraction of one.
      trial_timeout: seconds; None for a multiple of the slowest trial's time.
      retries: how often a failed trial is tried again.
      trials_per_worker: number of trials after which a worker is replaced.
    """

    data_dir: str = ""
    engine: str = "local"
    ray_address: str = "auto"
    workers: int | None = None
    threads: int = 1
    gpus: float = 0.0
    trial_timeout: float | None = None
    retries: int = 1
    trials_per_worker: int = 50

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise errors.unknown_value("engine", self.engine, ENGINES)
        if not 0 <= self.gpus < math.inf:
            raise ValueError(
                f"`gpus` must be a number from 0. Received: gpus={self.gpus}"
            )
        if self.gpus and self.engine == "local":
            raise ValueError(
                "`gpus` are shared out on a Ray cluster alone; on this "
                "machine each worker sees all (choose with "
                f"CUDA_VISIBLE_DEVICES). Received: gpus={self.gpus:g}"
            )
        if self.trial_timeout is not None and not self.trial_timeout > 0:
            raise ValueError(
                "`trial_timeout` must be above 0 seconds. "
                f"Received: trial_timeout={self.trial_timeout:g}"
            )
