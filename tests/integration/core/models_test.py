"""Networks train."""

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet.config import AnyNetConfig
from tests.support import export_testing
from tests.support import oracle_weights


class StructureTest(parameterized.TestCase):
    @parameterized.parameters("x", "y", "r", "v", "vr", "z", "pre", "basic")
    def test_every_block_trains(self, block):
        grouped = block in ("x", "y", "z", "pre")
        config = AnyNetConfig(
            (1, 2),
            (8, 16),
            strides=(1, 2),
            group_widths=4 if grouped else None,
            bottleneck_ratios=0.5 if block == "z" else 1,
            block=block,
            projection="pool" if block == "pre" else "conv",
        )
        model = keras_regnet.AnyNet(config, input_shape=(32, 32, 3), classes=3)
        for layer in model.layers:
            if layer.name.endswith("se_reduce"):
                # Its few ReLUs are at times all dead at the start.
                layer.bias.assign(np.ones(layer.bias.shape))
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = [np.array(w) for w in model.trainable_weights]
        images = export_testing.images(4)
        model.fit(images, np.array([0, 1, 2, 0]), verbose=0)
        for old, weight in zip(before, model.trainable_weights, strict=True):
            self.assertTrue(np.isfinite(np.asarray(weight)).all())
            self.assertGreater(
                np.abs(old - np.asarray(weight)).max(), 0, weight.path
            )

    def test_rematerialisation_computes_the_same(self):
        images, labels = export_testing.images(4), np.array([0, 1, 2, 3])
        trained = []
        for mode in (None, "full"):
            with keras.RematScope(mode=mode):
                model = keras_regnet.RegNet(
                    export_testing.NETWORKS["y"],
                    input_shape=(32, 32, 3),
                    classes=10,
                )
            oracle_weights.fill(model)
            model.compile(
                keras.optimizers.SGD(0.1),
                "sparse_categorical_crossentropy",
                jit_compile=False,
            )
            model.train_on_batch(images, labels)
            trained.append([np.array(w) for w in model.weights])
        for plain, remat in zip(*trained, strict=True):
            np.testing.assert_allclose(remat, plain, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    absltest.main()
