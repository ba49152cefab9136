"""tf.distribute strategies by name."""

import functools
import itertools
import json
import os

import tensorflow as tf
from absl import logging

from training.config import config as train_config

_TF_CONFIG = "TF_CONFIG"
_LAST_PORT = 65535
_IMPLEMENTATION = tf.distribute.experimental.CommunicationImplementation
_COLLECTIVES = {
    "auto": _IMPLEMENTATION.AUTO,
    "ring": _IMPLEMENTATION.RING,
    "nccl": _IMPLEMENTATION.NCCL,
}


def make(config: train_config.TrainConfig) -> tf.distribute.Strategy:
    """Returns the strategy a run trains under.

    There is always one, so the code below has no second path. Must run
    before TensorFlow has used a device if `num_cpu_devices` is above 1.

    Args:
      config: what it says about devices, workers and `global_batch_size`
        is read.

    Returns:
      A `tf.distribute.Strategy`.

    Raises:
      ValueError: if the devices or the global batch do not fit.
    """
    if config.num_cpu_devices > 1 and config.strategy != "mirrored":
        raise ValueError(
            "`num_cpu_devices` above 1 needs strategy='mirrored'. "
            f"Received: strategy={config.strategy!r}, "
            f"num_cpu_devices={config.num_cpu_devices}"
        )
    if config.worker_hosts and config.strategy != "multi_worker":
        raise ValueError(
            "`worker_hosts` needs strategy='multi_worker'. "
            f"Received: strategy={config.strategy!r}, "
            f"worker_hosts={config.worker_hosts!r}"
        )
    if config.strategy != "multi_worker":
        _warn_of_tf_config(config)
    strategy = _MAKERS[config.strategy](config)
    check_replicas(config, strategy.num_replicas_in_sync)
    return strategy


def check_replicas(config: train_config.TrainConfig, replicas: int) -> None:
    """Raises unless a run can be cut into so many replicas.

    Args:
      config: what it says about batch and batch norm is read.
      replicas: over all processes.

    Raises:
      ValueError: if the images cannot be shared out, or batch norm cannot
        be synchronised.
    """
    if replicas > 1 and config.sync_bn and config.jit_compile:
        raise ValueError(
            "`sync_bn` on several replicas needs `jit_compile` to be False: "
            "XLA compiles what one replica does by itself. Received: "
            f"sync_bn=True, jit_compile=True, replicas={replicas}"
        )
    batch, parts = config.global_batch_size, config.accumulation_steps
    if batch % replicas:
        raise ValueError(
            "`global_batch_size` must be divisible by the number of "
            f"replicas. Received: global_batch_size={batch}, "
            f"replicas={replicas}"
        )
    if batch // replicas % parts:
        raise ValueError(
            "`accumulation_steps` must divide the images per replica. "
            f"Received: accumulation_steps={parts}, "
            f"images per replica: {batch // replicas}"
        )


def _warn_of_tf_config(config):
    """Says if there are other machines that this one would not talk to."""
    try:
        cluster = json.loads(os.environ.get(_TF_CONFIG) or "{}")["cluster"]
        several = sum(map(len, cluster.values())) > 1
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    if several:
        logging.warning(
            "TF_CONFIG names a cluster, of which --strategy=%s takes no "
            "notice: each machine would train alone. "
            "--strategy=multi_worker trains on all of them",
            config.strategy,
        )


def _mirrored(config):
    return _mirrored_on(config.num_cpu_devices)


# One per process: two strategies over the same devices give their collective
# operations the same keys, and each waits for the other's tensors.
@functools.cache
def _mirrored_on(num_cpu_devices):
    devices = split_cpu(num_cpu_devices) if num_cpu_devices else None
    return tf.distribute.MirroredStrategy(devices)


def split_cpu(num_devices: int) -> list[str]:
    """Returns logical devices that share the CPU, made if need be.

    Args:
      num_devices: how many.

    Returns:
      Their names.

    Raises:
      ValueError: if TensorFlow already started with fewer.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    made = tf.config.get_logical_device_configuration(cpu) or ()
    if len(made) < num_devices:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices
            )
        except RuntimeError as error:
            raise ValueError(
                "`num_cpu_devices` must be set before TensorFlow starts. "
                f"Received: num_cpu_devices={num_devices}, already made: "
                f"{max(1, len(made))}"
            ) from error
    return [f"/cpu:{index}" for index in range(num_devices)]


def _one_device(config):
    del config
    kind = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    return tf.distribute.OneDeviceStrategy(f"/{kind}:0")


def _multi_worker(config):
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=_COLLECTIVES[config.collectives]
    )
    # Without hosts it reads TF_CONFIG; without that, a cluster of one.
    resolver = None
    if config.worker_hosts:
        _check_one_cluster()
        hosts = worker_hosts(config)
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": hosts}),
            task_type="worker",
            task_id=config.task_index,
            rpc_layer="grpc",
        )
    else:
        _check_tf_config()
    return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)


def worker_hosts(config: train_config.TrainConfig) -> list[str]:
    """Returns the addresses in `worker_hosts`, the chief's first.

    Raises:
      ValueError: if they are no addresses or `task_index` is not among them.
    """
    hosts = [host.strip() for host in config.worker_hosts.split(",")]
    for host in hosts:
        try:
            _check_address(host)
        except ValueError as error:
            raise ValueError(
                "`worker_hosts` must be host:port, separated by commas. "
                f"Received: {host!r} in worker_hosts={config.worker_hosts!r}"
            ) from error
    if len(set(hosts)) < len(hosts):
        raise ValueError(
            "`worker_hosts` must name each worker once. "
            f"Received: worker_hosts={config.worker_hosts!r}"
        )
    if config.task_index >= len(hosts):
        raise ValueError(
            "`task_index` must be below the number of `worker_hosts`. "
            f"Received: task_index={config.task_index}, {len(hosts)} hosts"
        )
    return hosts


def _check_address(host):
    name, _, port = host.rpartition(":")
    if not name or not port.isdigit() or int(port) > _LAST_PORT:
        raise ValueError(f"not host:port: {host!r}")


def num_workers(config: train_config.TrainConfig) -> int:
    """Returns the processes of --strategy=multi_worker, without asking them.

    Raises:
      ValueError: if `worker_hosts` or TF_CONFIG are no cluster.
    """
    if config.worker_hosts:
        _check_one_cluster()
        return len(worker_hosts(config))
    _check_tf_config()
    cluster = json.loads(os.environ.get(_TF_CONFIG) or "{}").get("cluster", {})
    hosts = [*cluster.get("chief", ()), *cluster.get("worker", ())]
    return max(1, len(hosts))


def _check_one_cluster():
    if _TF_CONFIG in os.environ:
        raise ValueError(
            "The cluster must be given once: by `worker_hosts` or by "
            f"TF_CONFIG. Received: both, TF_CONFIG={os.environ[_TF_CONFIG]!r}"
        )


def _check_tf_config():
    """Raises on what TensorFlow would take for a cluster of one."""
    text = os.environ.get(_TF_CONFIG)
    if not text:
        return
    try:
        found = json.loads(text)
        task = found["task"]
        hosts = found["cluster"][task["type"]]
        address = dict(enumerate(hosts))[int(task["index"])]
        for name in itertools.chain(*found["cluster"].values()):
            _check_address(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            'TF_CONFIG must be like {"cluster": {"worker": ["host:port", '
            '...]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: TF_CONFIG={text!r} ({type(error).__name__}: {error})"
        ) from error
    logging.info("TF_CONFIG: %s %s, %s", task["type"], task["index"], address)


def _tpu(config):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=config.tpu
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    # A name that leads nowhere is an OSError.
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"No TPU was found. Received: tpu={config.tpu!r} ({error})"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


_MAKERS = {
    "mirrored": _mirrored,
    "one_device": _one_device,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
}
