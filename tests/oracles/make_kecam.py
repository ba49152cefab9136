"""Writes tests/data/kecam.zip: small networks of kecam, and their outputs.

Run in the environment of `kecam_weights.py`:

    python tests/oracles/make_kecam.py

A RegNetY as a file of the whole model, the other as a file of weights. The
first stage of the RegNetY has one group: kecam names its convolution apart.
"""

import pathlib
import tempfile
import zipfile

import kecam_weights
import numpy as np

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
COMMON = {
    "sizes": (48, 45),
    "classes": 5,
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}
# As RegNetZD8 and RegNetY040 have it, but for the sizes.
Z = {
    "num_blocks": [1, 2],
    "strides": [1, 2],
    "out_channels": [8, 16],
    "hidden_channel_ratio": [[16 * 4 / 8], [8 * 4 / 16, 4]],
    "use_block_output_activation": False,
    "stem_type": "tiered",
    "stem_last_strides": 2,
    "stem_width": 16,
    "stem_downsample": False,
    "se_ratio": 0.25,
    "attn_params": {"activation": "relu"},
    "group_size": 4,
    "shortcut_type": None,
    "output_num_features": 16,
    "activation": "swish",
}
Y = {
    "num_blocks": [2, 1, 1, 1],
    "out_channels": [8, 16, 16, 24],
    "group_size": 8,
    "stem_width": 8,
    "activation": "relu",
    "model_name": "small",
}
# As RegNetZD8_EVO has it.
Z_EVONORM = Z | {
    "stem_type": "deep2",
    "use_evo_norm": True,
    "evo_norm_group_size": 8,
    "bn_epsilon": 1e-3,
}
NETWORKS = {
    "y": {"RegNetY": Y, "whole": True},
    "z": {"AotNet": Z},
    "z_evonorm": {"AotNet": Z_EVONORM},
}


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for network, arguments in NETWORKS.items():
            files = {
                "weights": str(folder / f"{network}.h5"),
                "outputs": str(folder / f"{network}.npz"),
            }
            kecam_weights.answer(COMMON | arguments | files)
            for key, value in np.load(files["outputs"]).items():
                print(network, key, value.shape, np.abs(value).max())
        packed = zipfile.ZipFile(
            DATA / "kecam.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
        )
        with packed:
            for path in sorted(folder.iterdir()):
                packed.write(path, path.name)


if __name__ == "__main__":
    main()
