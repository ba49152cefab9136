"""train_and_evaluate(config): a run from its first step to its SavedModel."""

import contextlib
import dataclasses
import pathlib

from absl import logging

from keras_regnet import locks
from keras_regnet import results
from keras_regnet import weights as weights_lib
from training.config import config as train_config
from training.config import config_checks
from training.config import network as network_lib
from training.data import class_weights as class_weights_lib
from training.data import identity
from training.data import load
from training.trainer import checkpointing
from training.trainer import hooks as hooks_lib
from training.trainer import loop as loop_lib
from training.trainer import preemption
from training.trainer import processes as processes_lib
from training.trainer import reporting
from training.trainer import run as run_lib
from training.trainer import state as state_lib
from training.trainer import strategy as train_strategy
from training.trainer import summary
from training.workdir import checkpoint
from training.workdir import curves
from training.workdir import export
from training.workdir import files
from training.workdir import outcome


@dataclasses.dataclass(frozen=True)
class Result:
    """A run that has ended.

    Args:
      folder: the run folder.
      loop: its loop, None where nothing was left to train. To let go of it
        can take a minute, in which tf.data's threads sleep; a process that is
        about to end need not.
    """

    folder: pathlib.Path
    loop: loop_lib.Loop | None = None


def train_and_evaluate(
    config: train_config.TrainConfig, hooks: hooks_lib.Hooks | None = None
) -> Result:
    """Trains, evaluates after every epoch, and exports.

    Called again on the same folder it resumes from the last checkpoint, as if
    it had never stopped. SIGTERM makes it save and return.

    Args:
      config: the run.
      hooks: called at fixed points of it.

    Returns:
      A `Result` with the run folder.

    Raises:
      ValueError: if the configuration cannot be run, or the folder holds
        another run.
      OSError: if something cannot be written, or another worker is gone.
    """
    config_checks.check_start(config)
    network = network_lib.network_config(config)
    folder = files.run_folder(config)
    if config.results:
        # Now, and not after a week.
        results.check(config.results)
    loop = None
    with preemption.Preemption() as stop, contextlib.ExitStack() as locked:
        strategy = train_strategy.make(config)
        processes = processes_lib.Processes(strategy)
        with processes_lib.lost_workers(processes, folder / "checkpoints"):
            locked.enter_context(_sole_user(folder, processes))
            stored = checkpointing.look(folder, config, network, processes)
            if not stored.finished:
                data = load.load_dataset(config)
                if config.results:
                    results.check(config.results, data.multilabel)
                changed = checkpointing.check_data(
                    folder, config, stored.data, stored.moved, identity.of(data)
                )
                if changed and processes.is_chief:
                    logging.warning("%s", changed)
                class_weights = _class_weights(data, config, processes)
                files.check_class_weights(
                    folder, config, stored.class_weights, class_weights
                )
                # A run that resumes keeps the padding of its weights.
                weights = stored.architecture or network_lib.resolve(
                    config.weights, network, data.class_names
                )
                run = run_lib.Run(
                    config=config,
                    architecture=weights.without_weights(),
                    folder=folder,
                    strategy=strategy,
                    processes=processes,
                    data=data,
                    hooks=hooks or hooks_lib.Hooks(),
                    class_weights=class_weights,
                )
                loop = _train(run, weights, stored.checkpoint, stop)
            processes.leave()
    return Result(folder, loop)


def _class_weights(data, config, processes):
    """Returns the weights of classes that the chief's file or images give."""
    weights, wrong = None, None
    if processes.is_chief:
        try:
            weights = class_weights_lib.of(data, config)
        except ValueError as error:
            wrong = error
    weights, reason = processes.json_from_chief([weights, wrong and str(wrong)])
    if reason:
        processes.leave()
        raise wrong or ValueError(reason)
    return weights


def _sole_user(folder, processes):
    """Holds the folder for this run: its chief is the one that writes."""
    if not processes.is_chief:
        return contextlib.nullcontext()
    return locks.sole_user(
        folder, "`workdir` must be a folder in which no other process trains."
    )


def _train(run, weights, stored, stop):
    """Returns the loop, None where nothing was left to train."""
    state, checkpointer = start(run, weights, stored)
    loop, finished = None, True
    if not run.is_over(state.position):
        loop = loop_lib.Loop(run, state, checkpointer, stop)
        finished = loop.run()
    if finished:
        _export(run, state, checkpointer)
    return loop


def start(
    run: run_lib.Run,
    weights: weights_lib.ResolvedWeights,
    stored: checkpoint.Checkpoint | None,
) -> tuple[state_lib.TrainState, checkpointing.Checkpointer]:
    """Builds, restores and describes a run; writes its config.json.

    Args:
      run: its parts.
      weights: the network, and what it starts from.
      stored: the chief's checkpoint, None for a new run.

    Returns:
      State and checkpointer, for a `loop.Loop`.
    """
    model, optimizer = state_lib.build(
        run.config, weights, run.data, run.strategy
    )
    state = state_lib.TrainState(
        run.strategy, model, optimizer, run.config.ema_decay
    )
    summary.log(run)
    checkpointer = checkpointing.Checkpointer(run, state)
    checkpointer.resume(stored)
    if run.processes.is_chief:
        files.remove_abandoned(run.folder)
        files.mark_not_exported(run.folder)
        files.write_data(run.folder, identity.of(run.data))
        files.write_config(
            run.folder, run.config, run.architecture, run.class_weights
        )
        # It may have the row of an epoch whose checkpoint was lost.
        files.write_metrics(run.folder, state.position.rows)
    return state, checkpointer


def _export(run, state, checkpointer):
    """Writes model.keras, saved_model/ and all else that ends a run."""
    config = run.config
    step = state.position.step
    if config.export_best:
        step = checkpointer.restore_best()
    state.averages.swap()
    if not run.processes.is_chief:
        return
    if run.hooks.before_export(state):
        export.write(
            run.folder,
            config,
            run.architecture,
            run.data,
            network_lib.layer_weights(state.model),
        )
    curves.write(
        run.folder,
        f"{config.variant} on {config.dataset}, recipe {config.recipe}",
        state.position.rows,
    )
    ended = outcome.of(state.position, step, config, run.num_steps)
    outcome.write(run.folder, ended)
    reporting.log_end(ended)
    if config.results:
        results.append(
            config.results, reporting.result_row(run, state.position, step)
        )
    files.mark_exported(run.folder, state.position.step)
