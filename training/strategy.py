"""tf.distribute strategies by name."""

import functools

import tensorflow as tf

from training import config as train_config


def make(config: train_config.TrainConfig) -> tf.distribute.Strategy:
    """Returns the strategy a run trains under.

    There is always one, so the code below has no second path. Must run
    before TensorFlow has used a device if `num_cpu_devices` is above 1.

    Args:
      config: `strategy`, `num_cpu_devices`, `tpu` and `global_batch_size`
        are read.

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
    strategy = _MAKERS[config.strategy](config)
    check_global_batch(config.global_batch_size, strategy)
    return strategy


def check_global_batch(
    global_batch_size: int, strategy: tf.distribute.Strategy
) -> None:
    """Raises unless every replica gets the same number of images."""
    replicas = strategy.num_replicas_in_sync
    if global_batch_size % replicas:
        raise ValueError(
            "`global_batch_size` must be divisible by the number of "
            f"replicas. Received: global_batch_size={global_batch_size}, "
            f"replicas={replicas}"
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
    del config
    # Reads TF_CONFIG; without it, a cluster of one.
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu(config):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=config.tpu
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
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
