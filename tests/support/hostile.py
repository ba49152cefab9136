"""Files that are there to do damage, each made from a good one.

A maker changes the file at a path. `HDF5`, `ARCHIVES`, `SAFETENSORS` and
`ARRAYS` have, by name, a maker and what the refusal must say.
"""

import io
import json
import pathlib
import struct
import warnings
import zipfile

import h5py
import numpy as np

# What no file of a few kilobytes may make anyone allocate.
HUGE = 2**40


def _edit_hdf5(change):
    def make(path):
        with h5py.File(path, "r+") as file:
            change(file, file[_kernel(file)], path)

    return make


def _kernel(file):
    """Returns where the first array of four axes is."""
    found = []
    file.visititems(
        lambda name, node: (
            found.append(name)
            if isinstance(node, h5py.Dataset) and node.ndim == 4
            else None
        )
    )
    return found[0]


def _replace(file, kernel, **arguments):
    name = kernel.name
    del file[name]
    return file.create_dataset(name, dtype="f4", **arguments)


def _external_storage(file, kernel, path):
    secret = path.with_name("secret.bin")
    secret.write_bytes(bytes(kernel.nbytes))
    storage = [(str(secret), 0, h5py.h5f.UNLIMITED)]
    _replace(file, kernel, shape=kernel.shape, external=storage)


def _external_link(file, kernel, path):
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as elsewhere:
        elsewhere["x"] = kernel[...]
    name = kernel.name
    del file[name]
    file[name] = h5py.ExternalLink(str(other), "/x")


def _soft_link(file, kernel, path):
    name = kernel.name
    file.move(name, "/elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def _virtual(file, kernel, path):
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as elsewhere:
        elsewhere["x"] = kernel[...]
    layout = h5py.VirtualLayout(kernel.shape, "f4")
    layout[...] = h5py.VirtualSource(str(other), "x", kernel.shape)
    name = kernel.name
    del file[name]
    file.create_virtual_dataset(name, layout)


def _packed_zeros(file, kernel, path):
    _replace(file, kernel, data=np.zeros((1, 1, 1, 2**22), "f4"), compression=9)


def _loop(file, kernel, path):
    kernel.parent["loop"] = file


def _nested(file, kernel, path):
    kernel.parent.create_group("/".join("a" * 100))


def _texts(file, kernel, path):
    """A list whose elements are all the same long text."""
    texts = ["x" * 1000] * 1000
    file.attrs.create("list", texts, dtype=h5py.string_dtype())


def _endless_heap(path):
    """The free space behind the texts is of size 0: libhdf5 stays there."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"GCOL\1\0\0\0")
    place = start + 16
    while content[place]:
        (size,) = struct.unpack_from("<Q", content, place + 8)
        place += 16 + (size + 7) // 8 * 8
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)


def _table(file, kernel, path):
    name = kernel.name
    del file[name]
    file[name] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def _strings(file, kernel, path):
    name = kernel.name
    del file[name]
    file.create_dataset(name, data=["x" * 99] * 9, dtype=h5py.string_dtype())


HDF5 = {
    "external storage": (
        _edit_hdf5(_external_storage),
        "is stored in another file",
    ),
    "external link": (_edit_hdf5(_external_link), "is a link to elsewhere"),
    "soft link": (_edit_hdf5(_soft_link), "is a link to elsewhere"),
    "virtual": (_edit_hdf5(_virtual), "is a view of other files"),
    "declared": (
        _edit_hdf5(lambda f, k, _: _replace(f, k, shape=(1, 1, 1, HUGE))),
        f"declares {4 * HUGE} bytes, .* and 0 are stored",
    ),
    "overflow": (
        _edit_hdf5(lambda f, k, _: _replace(f, k, shape=(2**30, 2**30))),
        f"declares {2**62} bytes",
    ),
    "packed zeros": (_edit_hdf5(_packed_zeros), "in chunks or packed"),
    "loop": (_edit_hdf5(_loop), "another name of what it also holds"),
    "nested": (_edit_hdf5(_nested), "nested deeper than"),
    "texts": (_edit_hdf5(_texts), "'list' of '/' is not a text"),
    "endless heap": (_endless_heap, "has an object of a wrong size"),
    "overlapping heaps": (
        lambda path: path.write_bytes(
            path.read_bytes() + (b"GCOL\1\0\0\0" + b"\0\0\1" + bytes(5)) * 9999
        ),
        "a wrong size|heaps of texts overlap",
    ),
    "table": (_edit_hdf5(_table), "does not hold numbers"),
    "strings": (_edit_hdf5(_strings), "does not hold numbers"),
    "cut": (
        lambda path: path.write_bytes(path.read_bytes()[:-500]),
        "truncated",
    ),
}


def _add(name, content=b"x", **fields):
    def make(path):
        entry = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(entry, field, value)
        with (
            zipfile.ZipFile(path, "a") as archive,
            warnings.catch_warnings(),
        ):
            # Of a name that is in it already.
            warnings.simplefilter("ignore")
            archive.writestr(entry, content)

    return make


def _encrypt(path):
    """Says of the first entry that it is, where the archive lists it."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def rewrite(path: pathlib.Path, **contents: bytes) -> None:
    """Writes an archive anew, with other contents of `config` or `weights`."""
    names = {"config.json": "config", "model.weights.h5": "weights"}
    with zipfile.ZipFile(path) as archive:
        old = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in old.items():
            archive.writestr(name, contents.get(names.get(name), content))


def _with_config(change):
    def make(path):
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json")
        rewrite(path, config=change(config))

    return make


def _with_weights(make_hdf5):
    def make(path):
        inner = path.with_name("inner.h5")
        with zipfile.ZipFile(path) as archive:
            inner.write_bytes(archive.read("model.weights.h5"))
        make_hdf5(inner)
        rewrite(path, weights=inner.read_bytes())
        inner.unlink()

    return make


ARCHIVES = {
    "absolute path": (_add("/etc/x"), "'/etc/x' leads out of the archive"),
    "path upward": (_add("a/../../x"), "leads out of the archive"),
    "path of Windows": (_add("a\\..\\x"), "leads out of the archive"),
    "link": (_add("x", b"/etc/x", external_attr=0o120777 << 16), "is a link"),
    "named twice": (_add("config.json", b"{}"), "is in it twice"),
    "zeros": (
        _add("x", bytes(2**25), compress_type=zipfile.ZIP_DEFLATED),
        "would unpack to 33554432",
    ),
    "odd method": (
        _add("x", compress_type=zipfile.ZIP_BZIP2),
        "packed in an unusual way",
    ),
    "encrypted": (_encrypt, "is encrypted"),
    "deep": (
        _with_config(lambda config: b"[" * 100_000 + b"]" * 100_000),
        "nested deeper",
    ),
    "long": (
        _with_config(lambda config: config + b" " * 2**23),
        "is too long",
    ),
    "two names": (
        _with_config(lambda config: b'{"module": 1, ' + config[1:]),
        "'module' is named twice",
    ),
    **{
        name: (_with_weights(make), message)
        for name, (make, message) in HDF5.items()
    },
}
# What only matters where a model is built from what the file describes.
MODELS = {
    "units": (
        _with_config(
            lambda config: config.replace(b'"units": 4', b'"units": %d' % HUGE)
        ),
        f"'head_fc' has units={HUGE}",
    ),
    "code": (
        _with_config(
            lambda config: config.replace(
                b'"class_name": "ZeroPadding2D"', b'"class_name": "Lambda"'
            )
        ),
        "is not a readable .keras file",
    ),
    "other module": (
        _with_config(
            lambda config: config.replace(
                b'"module": "keras.layers", "class_name": "ZeroPadding2D"',
                b'"module": "os", "class_name": "system"',
            )
        ),
        "is not a readable .keras file",
    ),
}


def _header(change):
    """Returns a maker that changes the header of a safetensors file."""

    def make(path):
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = change(content[8 : 8 + length])
        if isinstance(header, dict):
            header = json.dumps(header).encode()
        path.write_bytes(
            struct.pack("<Q", len(header)) + header + content[8 + length :]
        )

    return make


def _change(**fields):
    def change(header):
        values = json.loads(header)
        first = next(name for name in values if name.startswith("s1.b1"))
        values[first] |= fields
        return values

    return _header(change)


SAFETENSORS = {
    "long header": (
        _header(lambda header: header + b" " * 2**23),
        "its header of .* is too long",
    ),
    "length": (
        lambda path: path.write_bytes(
            struct.pack("<Q", 2**60) + path.read_bytes()[8:]
        ),
        "its header is longer than it",
    ),
    "deep": (
        _header(lambda header: b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"),
        "nested deeper",
    ),
    "named twice": (
        _header(
            lambda header: header[:-1].rstrip(b" }") + b'}, "a": 1, "a": 1}'
        ),
        "'a' is named twice",
    ),
    "shape": (_change(shape=[HUGE, 1]), "[Ii]nvalid"),
    "overflow": (_change(shape=[2**62, 2**62]), "[Oo]verflow"),
    "offsets": (_change(data_offsets=[0, HUGE]), "[Ii]nvalid"),
    "nothing": (_change(shape=[0, 2**62], data_offsets=[0, 0]), "[Ii]nvalid"),
    "short": (lambda path: path.write_bytes(b"1234"), "is too short"),
}


def npy(shape: tuple[int, ...], content: bytes = b"", kind: str = "<f4"):
    """Returns the bytes of a `.npy` file that declares any shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + content


def _replace_array(content):
    def make(path):
        with zipfile.ZipFile(path) as archive:
            old = {name: archive.read(name) for name in archive.namelist()}
        old[next(iter(old))] = content
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, value in old.items():
                archive.writestr(name, value)

    return make


def _pickle():
    file = io.BytesIO()
    np.save(file, np.asarray([print], object), allow_pickle=True)
    return file.getvalue()


ARRAYS = {
    "declared": (_replace_array(npy((HUGE,))), f"declares {4 * HUGE} bytes"),
    "overflow": (_replace_array(npy((2**62, 2**62))), "declares"),
    "negative": (_replace_array(npy((-1, 4))), r"its shape is \(-1, 4\)"),
    "pickle": (_replace_array(_pickle()), "objects of type object"),
    "header": (
        _replace_array(b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535),
        "is not an array of numbers",
    ),
    "unclosed": (
        _replace_array(
            b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': '<f4', (".ljust(64)
        ),
        "is not an array of numbers",
    ),
    "zeros": (_replace_array(npy((2**25,), bytes(2**27))), "unpack to 1342"),
    "link": (_add("x", external_attr=0o120777 << 16), "is a link"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole zip archive"),
}
