"""Fails unless a wheel holds keras_regnet, its data, and nothing else."""

import sys
import zipfile

ALLOWED = ("keras_regnet/", "keras_regnet-")
NEEDED = (
    "keras_regnet/__init__.py",
    "keras_regnet/py.typed",
    "keras_regnet/data/digits.npz",
    "keras_regnet/design_space/report.css",
    "keras_regnet/design_space/report.html",
    "keras_regnet/design_space/report.js",
    "keras_regnet/weights/__init__.py",
)

names = zipfile.ZipFile(sys.argv[1]).namelist()
foreign = [name for name in names if not name.startswith(ALLOWED)]
missing = [name for name in NEEDED if name not in names]
if foreign or missing:
    sys.exit(f"{sys.argv[1]}: foreign {foreign}, missing {missing}")
print(f"{sys.argv[1]}: {len(names)} files, keras_regnet alone")
