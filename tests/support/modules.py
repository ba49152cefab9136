"""The modules of the package."""

import pkgutil

import keras_regnet

# Subpackages that cannot be imported without an extra.
_EXTRAS = ("keras_regnet.hub",)


def of_the_package() -> list[str]:
    """Returns the names of all modules that a plain install imports.

    That of the package is the first.
    """
    names = filter(lambda name: not name.startswith(_EXTRAS), _walk())
    return ["keras_regnet", *names]


def of_extras() -> list[str]:
    """Returns the names of the modules that need an extra."""
    return [name for name in _walk() if name.startswith(_EXTRAS)]


def _walk():
    # It passes over packages that cannot be imported.
    for module in pkgutil.walk_packages(keras_regnet.__path__, "keras_regnet."):
        yield module.name
