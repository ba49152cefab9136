"""ImageNet's own files, in miniature."""

import io
import pathlib
import tarfile

import numpy as np
from PIL import Image

# Labels by the order of their synsets, as every ImageNet network has them.
SYNSETS = {"n01440764": 0, "n01443537": 1, "n01739381": 59, "n02105855": 230,
            "n15075141": 999}  # fmt: skip
# The first five images of the validation set: sea snake, alp, Shetland
# sheepdog, soup bowl, cradle.
VALIDATION = (65, 970, 230, 809, 516)
# Images of the real set that are not what their names say.
_CMYK, _PNG = "n01739381_1309.JPEG", "n02105855_2933.JPEG"


def _file(brightness, kind="jpeg", mode="RGB"):
    file = io.BytesIO()
    pixels = np.full((60, 80, 3), brightness, np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def _tar(contents):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in contents:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _train_tar():
    """A tar of one tar per synset, as ILSVRC2012_img_train.tar is."""
    inner = []
    for synset, label in SYNSETS.items():
        files = [
            (f"{synset}_{number}.JPEG", _file(label % 251)) for number in (1, 2)
        ]
        if synset == _CMYK[:9]:
            files.append((_CMYK, _file(label % 251, mode="CMYK")))
        if synset == _PNG[:9]:
            files.append((_PNG, _file(label % 251, "png")))
        inner.append((f"{synset}.tar", _tar(files)))
    return _tar(inner)


def write_downloads(folder: pathlib.Path) -> None:
    """Writes ImageNet's two tars to where tensorflow-datasets finds them."""
    manual = folder / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "ILSVRC2012_img_train.tar").write_bytes(_train_tar())
    # Not in the order of their names: nor is the real one.
    val = [
        (f"ILSVRC2012_val_{number:08d}.JPEG", _file(40 * number))
        for number in (3, 1, 5, 4, 2)
    ]
    (manual / "ILSVRC2012_img_val.tar").write_bytes(_tar(val))
