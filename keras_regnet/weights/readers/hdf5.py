"""HDF5 files of strangers: whole and plain ones are opened, others refused.

libhdf5 follows links into other files, takes numbers from raw files that a
file names, and believes the sizes that it declares. Keras writes none of that:
its files are groups and contiguous arrays of numbers, each under one name.
Nothing else is opened here. All HDF5 files are read through `open_file`.
"""

import io
import mmap
import os
import struct

import h5py

# Beyond what the largest network with its optimizer needs.
_MAX_OBJECTS = 50_000
_MAX_DEPTH = 32
_MAX_ITEM_BYTES = 8
# A heap of texts begins so (version 1), and its size follows; an object in it
# with its index, uses, 4 bytes of nothing and its size.
_HEAP = b"GCOL\x01\0\0\0"
_HEAP_SIZE = struct.Struct("<Q")
_HEAP_OBJECT = struct.Struct("<H2x4xQ")
_PLAIN_LAYOUTS = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
# Attributes of Keras 2 that may be lists of texts of any length.
_LISTS = (b"layer_names", b"weight_names")
# Flags and bfloat16, which HDF5 does not know, are stored as the last two.
_NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.OPAQUE)


def open_file(source: str | os.PathLike | io.BytesIO) -> h5py.File:
    """Opens a file, after everything in it was looked at.

    Args:
      source: a path, or the bytes of a file.

    Returns:
      The file; the declared size of each of its arrays is the stored one.

    Raises:
      OSError: if it cannot be opened.
      ValueError: if it is more than groups and arrays of numbers.
    """
    size = _check_heaps(source)
    file = h5py.File(source, "r")
    try:
        _check(file, size)
    except BaseException:
        file.close()
        raise
    return file


def _check_heaps(source):
    """Raises if texts lie so that libhdf5 would never end reading them.

    Returns the size of the file.
    """
    if isinstance(source, io.BytesIO):
        return _check_heaps_in(source.getvalue())
    with (
        open(source, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return _check_heaps_in(content)


def _check_heaps_in(content):
    objects = 0
    start = content.find(_HEAP)
    while start >= 0:
        objects += _count_objects(content, start)
        # As many as fit, and no byte in two heaps: or counting takes for ever.
        if objects * _HEAP_OBJECT.size > len(content):
            raise ValueError("its heaps of texts overlap")
        start = content.find(_HEAP, start + 1)
    return len(content)


def _count_objects(content, start):
    """Returns how many objects a heap has, one after the other to its end.

    An object's size is without its header; that of the free space, which has
    the index 0, is with it. Where that is 0, libhdf5 1.14.6 stays for ever.
    """
    place = start + len(_HEAP)
    (size,) = _HEAP_SIZE.unpack_from(content[place : place + _HEAP_SIZE.size])
    place += _HEAP_SIZE.size
    end = min(start + size, len(content))
    objects = 0
    while place + _HEAP_OBJECT.size <= end:
        header = content[place : place + _HEAP_OBJECT.size]
        index, length = _HEAP_OBJECT.unpack(header)
        if index:
            length = _HEAP_OBJECT.size + -(-length // 8) * 8
        place += length
        if length == 0 or place > end:
            raise ValueError(
                f"a heap of texts at byte {start} has an object of a wrong size"
            )
        objects += 1
    return objects


def _check(file, size):
    _check_attributes(file.id, "/", size)
    seen = {h5py.h5o.get_info(file.id).addr}
    level = [(file.id, "")]
    for _ in range(_MAX_DEPTH):
        inner = []
        for group, path in level:
            if len(seen) + group.get_num_objs() > _MAX_OBJECTS:
                raise ValueError(f"it holds more than {_MAX_OBJECTS} objects")
            for name in group:
                child, location = _open(group, name, path, seen)
                _check_attributes(child, location, size)
                if isinstance(child, h5py.h5g.GroupID):
                    inner.append((child, location))
                else:
                    _check_array(child, location, size)
        if not inner:
            return
        level = inner
    raise ValueError(f"its groups are nested deeper than {_MAX_DEPTH} levels")


def _open(group, name, path, seen):
    """Returns an object of a group, and its path, if only this names it."""
    location = f"{path}/{name.decode(errors='replace')}"
    if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{location!r} is a link to elsewhere")
    info = h5py.h5o.get_info(group, name)
    if info.addr in seen:
        raise ValueError(f"{location!r} is another name of what it also holds")
    seen.add(info.addr)
    if info.type not in (h5py.h5o.TYPE_GROUP, h5py.h5o.TYPE_DATASET):
        raise ValueError(f"{location!r} is neither a group nor an array")
    return h5py.h5o.open(group, name), location


def _check_array(array, location, size):
    """Raises unless an array is of numbers, all within the file."""
    creation = array.get_create_plist()
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        raise ValueError(f"{location!r} is a view of other files")
    if (
        creation.get_layout() == h5py.h5d.CONTIGUOUS
        and creation.get_external_count()
    ):
        raise ValueError(f"{location!r} is stored in another file")
    if creation.get_layout() not in _PLAIN_LAYOUTS:
        raise ValueError(
            f"{location!r} is stored in chunks or packed, as Keras stores "
            "nothing: `h5repack -l CONTI -f NONE` makes a plain file of it"
        )
    kind = array.get_type()
    if kind.get_class() not in _NUMBERS or kind.get_size() > _MAX_ITEM_BYTES:
        raise ValueError(f"{location!r} does not hold numbers")
    # Multiplied in Python, as libhdf5 may overflow.
    declared = kind.get_size()
    for length in array.shape:
        declared *= length
    stored = array.get_storage_size()
    start = array.get_offset() or 0
    if declared != stored or start + stored > size:
        raise ValueError(
            f"{location!r} declares {declared} bytes, of shape {array.shape}, "
            f"and {min(stored, max(size - start, 0))} are stored"
        )


def _check_attributes(node, location, size):
    """Raises if an attribute may be longer than the file.

    Of texts of any length in a list, each may be the same megabytes. Keras 2
    wrote such lists, which nobody reads here.
    """
    for index in range(h5py.h5a.get_num_attrs(node)):
        attribute = h5py.h5a.open(node, index=index)
        if attribute.name.startswith(_LISTS):
            continue
        kind = attribute.get_type()
        text = kind.get_class() == h5py.h5t.STRING
        plain = text or kind.get_class() in _NUMBERS
        endless = text and kind.is_variable_str() and attribute.shape != ()
        if not plain or endless or attribute.get_storage_size() > size:
            name = attribute.name.decode(errors="replace")
            raise ValueError(
                f"the attribute {name!r} of {location!r} is not a text or "
                "numbers"
            )


def text(node: h5py.HLObject, name: str, default: str | None = None) -> str:
    """Returns an attribute that is a text."""
    value = node.attrs.get(name, default)
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        raise ValueError(f"{node.name!r} has no text {name!r}")
    return value
