"""The modules of the package."""

import pkgutil

import keras_regnet


def of_the_package() -> list[str]:
    """Returns the names of all modules, that of the package first."""
    walked = pkgutil.walk_packages(keras_regnet.__path__, "keras_regnet.")
    return ["keras_regnet", *(module.name for module in walked)]
