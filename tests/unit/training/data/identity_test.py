"""Tests of what a run remembers of its data."""

import dataclasses
import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from tests.support import training_testing
from training.config import config as train_config
from training.data import identity
from training.data import load
from training.data import shards


def _load(dataset, **fields):
    config = train_config.TrainConfig(dataset=dataset, **fields)
    return identity.of(load.load_dataset(config))


class IdentityTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        temp = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(temp)

    def arrays(self, name, seed=0, **more):
        rng = np.random.default_rng(seed)
        path = self.folder / name
        np.savez_compressed(
            path,
            x_train=rng.integers(0, 256, (6, 8, 8), np.uint8),
            y_train=np.arange(6) % 3,
            x_test=rng.integers(0, 256, (3, 8, 8), np.uint8),
            y_test=np.arange(3),
            **more,
        )
        return f"arrays:{path}"

    def test_survives_json(self):
        found = _load("digits")
        text = json.dumps(found.to_dict())
        self.assertEqual(identity.Identity.from_dict(json.loads(text)), found)
        self.assertEqual(sum(found.train.per_class), 1437)
        self.assertEqual(identity.changes(found, found), [])

    def test_folders(self):
        for name in ("one", "other"):
            training_testing.write_folder(self.folder / name)
        one, other = (
            _load(f"folder:{self.folder / name}") for name in ("one", "other")
        )
        self.assertEqual(one, other)
        self.assertTrue(identity.same_files(one, other))
        path = self.folder / "other" / "train" / "cat" / "0.jpg"
        contents = path.read_bytes()
        for changed in (contents + b"1", contents[:-3] + b"1" + contents[-2:]):
            path.write_bytes(changed)
            found = _load(f"folder:{self.folder / 'other'}")
            self.assertFalse(identity.same_files(one, found))
        path.write_bytes(contents)
        path = self.folder / "other" / "val" / "cat" / "0.jpg"
        path.rename(path.with_name("new.jpg"))
        other = _load(f"folder:{self.folder / 'other'}")
        self.assertFalse(identity.same_files(one, other))
        self.assertEqual(
            identity.changes(one, other),
            ["validation images: as many, of other files"],
        )

    def test_shards(self):
        training_testing.write_folder(self.folder / "set")
        for name, seed in (("one", 0), ("again", 0), ("other", 1)):
            shards.write(self.folder / "set", self.folder / name, 5, seed=seed)
        one, again = (
            _load(f"shards:{self.folder / name}") for name in ("one", "again")
        )
        self.assertEqual(one, again)
        self.assertEqual(one.train.per_class, (6, 6))
        self.assertNotEqual(one.train.digest, one.val.digest)

    def test_arrays(self):
        one = _load(self.arrays("one.npz"))
        self.assertEqual(one, _load(self.arrays("same.npz")))
        other = _load(self.arrays("other.npz", seed=1))
        self.assertEqual(
            identity.changes(one, other),
            [
                "training images: as many, of other files",
                "validation images: as many, of other files",
            ],
        )

    def test_a_part_is_counted(self):
        whole = _load("digits")
        part = _load("digits", num_train_examples=100)
        self.assertTrue(identity.same_files(whole, part))
        self.assertEqual(part.train.images, 100)
        held_out = _load("digits", val_fraction=0.25)
        self.assertEqual(held_out.val.digest, whole.train.digest)

    def test_other_ways_to_read(self):
        one = _load("digits")
        train = dataclasses.replace(one.train, in_sequence=True, per_class=None)
        other = dataclasses.replace(one, train=train)
        self.assertEqual(
            identity.changes(one, other),
            ["training images: now read in sequence, in another order"],
        )


if __name__ == "__main__":
    absltest.main()
