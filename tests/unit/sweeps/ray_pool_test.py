"""The Ray engine's own logic, on a stand-in for Ray.

`tests/cluster` runs it on a real cluster.
"""

import importlib
import json
import pathlib
import sys
import tempfile
import time
import types
from unittest import mock

import numpy as np
from absl.testing import absltest

from tests.support import design_space_testing as testing
from training import sweeps
from training.sweeps import arrays as arrays_lib
from training.sweeps import driver
from training.sweeps import files
from training.sweeps import messages
from training.sweeps import pool
from training.sweeps import regimes
from training.sweeps import spec as spec_lib
from training.sweeps.options import Options


class _RayError(Exception):
    pass


class _Call:
    """An answer that a test gives, or the error that it raises."""

    def __init__(self, method, arguments):
        self.method, self.arguments = method, arguments
        self.answer = None


class _Actor:
    def __init__(self, arguments):
        self.arguments = arguments
        self.killed = False
        for name in ("ready", "train"):
            method = types.SimpleNamespace(
                remote=lambda *given, name=name: _Call(name, given)
            )
            setattr(self, name, method)


class _Ray:
    """The part of Ray that `training/sweeps/ray_pool.py` uses."""

    exceptions = types.SimpleNamespace(RayError=_RayError)
    util = types.SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1")

    def __init__(self, *nodes):
        self._nodes = [{"Alive": True, "Resources": node} for node in nodes]
        self.actors, self.options, self.shut, self.stored = [], None, False, []

    def init(self, address, **options):
        self.address, self.environment = address, options["runtime_env"]

    def shutdown(self):
        self.shut = True

    def nodes(self):
        return self._nodes

    def put(self, value):
        self.stored.append(value)
        return value

    def remote(self, unused):
        def options(**given):
            self.options = given
            return types.SimpleNamespace(remote=self._make)

        return types.SimpleNamespace(options=options)

    def _make(self, *arguments):
        self.actors.append(_Actor(arguments))
        return self.actors[-1]

    def wait(self, calls, num_returns=1, timeout=None):
        del timeout
        if not 0 < num_returns <= len(calls):
            raise ValueError(f"num_returns={num_returns}")
        done = [call for call in calls if call.answer is not None]
        done = done[:num_returns]
        return done, [call for call in calls if call not in done]

    def get(self, call):
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def kill(self, actor):
        actor.killed = True


def _forget():
    """Makes the next import of the module run it again."""
    sys.modules.pop("training.sweeps.ray_pool", None)
    vars(sweeps).pop("ray_pool", None)


class RayPoolTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.ray = _Ray({"CPU": 2.0}, {"CPU": 3.0, "GPU": 1.0}, {})
        self.enter_context(mock.patch.dict(sys.modules, ray=self.ray))
        _forget()
        self.module = importlib.import_module("training.sweeps.ray_pool")
        self.addCleanup(_forget)
        self.folder = self.enter_context(tempfile.TemporaryDirectory())

    def start(self, jobs=99, regime="synthetic", **options):
        options = Options(engine="ray", **options)
        folder = pathlib.Path(self.folder)
        spec = spec_lib.Spec(
            regime=regimes.get(regime), spaces=("RegNetX",), n=1
        )
        (folder / files.SPEC).write_text(json.dumps(spec.to_dict()))
        return self.module.start(folder, options, jobs)

    def answer(self, workers, value, number=0):
        if not isinstance(value, Exception):
            value = value.to_json()
        workers._workers[number].answer.answer = value
        return list(workers.wait(0))

    def test_room(self):
        for options, count in (
            ({}, 5),
            ({"threads": 2}, 2),
            ({"threads": 3}, 1),
            ({"gpus": 0.25}, 3),
            ({"jobs": 2}, 2),
            ({"workers": 7}, 7),
        ):
            self.ray.actors = []
            self.start(**options)
            self.assertLen(self.ray.actors, count, options)

    def test_no_room(self):
        with self.assertRaisesRegex(pool.WorkerError, "4 CPU and 1 GPU"):
            self.start(threads=4, gpus=1)
        self.ray._nodes[1]["Alive"] = False
        with self.assertRaisesRegex(pool.WorkerError, "No node .* has the 3"):
            self.start(threads=3)

    def test_all_nodes_gone(self):
        workers = self.start()
        self.ray._nodes.clear()
        self.assertEmpty(list(workers.wait(0)))
        with (
            mock.patch.object(self.module, "_ROOM_SECONDS", -1),
            self.assertRaisesRegex(pool.WorkerError, "No node"),
        ):
            list(workers.wait(0))

    def test_trains(self):
        with self.start(jobs=2, threads=2) as workers:
            self.assertEqual(workers.idle, 0)
            self.answer(workers, messages.Ready())
            self.answer(workers, messages.Ready(), 1)
            self.assertEqual(workers.idle, 2)
            job = messages.Job(testing.trial())
            workers.submit(job)
            (sent,) = workers._workers[0].answer.arguments
            self.assertEqual(messages.Job.from_json(sent), job)
            outcome = messages.Outcome(testing.RECORD)
            self.assertEqual(self.answer(workers, outcome), [testing.RECORD])
        self.assertTrue(all(actor.killed for actor in self.ray.actors))
        self.assertTrue(self.ray.shut)
        self.assertEqual(self.ray.options, {"num_cpus": 2.0, "num_gpus": 0.0})

    def test_code_goes_along(self):
        self.start()
        names = [
            pathlib.Path(p).name for p in self.ray.environment["py_modules"]
        ]
        self.assertEqual(names, ["keras_regnet", "training"])
        self.assertIn("KERAS_BACKEND", self.ray.environment["env_vars"])

    def test_why_a_worker_ended(self):
        said = "The actor died.\n\tpid: 1\nThe actor is dead because its "
        for error, reason in (
            (said + "node has died. Node Id: 5", "the worker's node is gone"),
            (
                "The actor 3f is temporarily unavailable: Socket closed",
                "the worker cannot be reached, perhaps its node is gone",
            ),
            (
                "Task was killed due to the node running low on memory.\nIP: 1",
                "out of memory: Ray ended the worker",
            ),
            (
                said + "process  has died.\nexit code 1",
                "worker ended: The actor died. pid: 1 The actor is dead "
                "because its process has died. exit code 1",
            ),
        ):
            workers = self.start(jobs=1)
            self.answer(workers, messages.Ready())
            workers.submit(messages.Job(testing.trial()))
            (record,) = self.answer(workers, _RayError(error))
            self.assertEqual(record.status, "failed")
            self.assertEqual(record.reason, reason)
            self.assertTrue(self.ray.actors[-2].killed)
            self.assertFalse(self.ray.actors[-1].killed)

    def test_cluster_that_is_lost(self):
        workers = self.start(jobs=1)
        self.ray.wait = mock.Mock(side_effect=_RayError("No\nhead"))
        with self.assertRaisesRegex(pool.WorkerError, "not answer: No head"):
            list(workers.wait(0))

    def test_workers_that_cannot_start(self):
        workers = self.start(jobs=1)
        with self.assertRaisesRegex(pool.WorkerError, "ready.*No such file: x"):
            for _ in range(3):
                self.answer(workers, _RayError("Creation\nNo such file: x"))

    def test_arrays_of_a_file_are_sent(self):
        regime = regimes.get("cifar10")
        path = arrays_lib.path(regime, self.folder)
        path.parent.mkdir()
        arrays = {name: np.arange(3) for name in arrays_lib.NAMES[:4]}
        np.savez(path, **arrays)
        self.start(regime="cifar10")
        (stored,) = self.ray.stored
        self.assertEqual(stored.train_labels.tolist(), [0, 1, 2])
        self.assertIs(self.ray.actors[0].arguments[-1], stored)

    def test_arrays_of_photos_are_not(self):
        path = arrays_lib.path(regimes.get("imagenet"), self.folder)
        path.with_suffix("").mkdir(parents=True)
        self.start(regime="imagenet")
        self.assertEmpty(self.ray.stored)
        regime, folder, threads, arrays = self.ray.actors[0].arguments
        self.assertEqual(regime, regimes.get("imagenet"))
        self.assertEqual((threads, arrays), (1, None))
        self.assertEqual(folder, str(pathlib.Path(self.folder).absolute()))

    def test_trainer(self):
        (trial, *_) = spec_lib.sample(
            spec_lib.Spec(
                regime=regimes.get("synthetic"), spaces=("RegNetX",), n=1
            ),
            self.folder,
        )
        record = testing.record_of(trial)
        regime = regimes.get("synthetic")
        trainer = self.module._Trainer(regime, self.folder, 0, None)
        self.assertEqual(trainer.ready(), messages.Ready().to_json())
        self.assertLen(trainer._arrays.train_labels, 32)
        with mock.patch.object(
            self.module.trial, "run", return_value=record
        ) as run:
            line = trainer.train(messages.Job(trial, 2).to_json())
        self.assertEqual(messages.from_worker(line), messages.Outcome(record))
        run.assert_called_once_with(trial, regime, trainer._arrays, 2)

    def test_no_cluster(self):
        for error in (
            ConnectionError("no Ray\nat all"),
            RuntimeError("no Ray"),
        ):
            with (
                mock.patch.object(self.ray, "init", side_effect=error),
                self.assertRaisesRegex(ValueError, "'auto': no Ray$"),
            ):
                self.start()

    def test_nobody_listens(self):
        for address in ("127.0.0.1:1", "ray://localhost:1", "nonsense"):
            with self.assertRaisesRegex(
                ValueError, f"`ray_address` must be .*'{address}': "
            ):
                self.start(1, ray_address=address)

    def test_something_else_listens(self):
        with (
            mock.patch.object(self.module, "_INIT_SECONDS", 0.05),
            mock.patch.object(
                self.ray, "init", side_effect=lambda *_, **__: time.sleep(1)
            ),
            self.assertRaisesRegex(ValueError, "no answer within 0.05 s"),
        ):
            self.start()

    def test_address_of_the_environment(self):
        with (
            mock.patch.dict("os.environ", RAY_ADDRESS="127.0.0.1:1"),
            self.assertRaisesRegex(ValueError, "'127.0.0.1:1': "),
        ):
            self.start()


class NoRayTest(absltest.TestCase):
    def test_says_what_to_install(self):
        _forget()
        with (
            mock.patch.dict(sys.modules, ray=None),
            self.assertRaisesRegex(ImportError, r"pip install .*\[cluster\]"),
        ):
            driver.start_pool("", Options(engine="ray"), 1)


if __name__ == "__main__":
    absltest.main()
