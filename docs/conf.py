"""Sphinx: the pages of docs/, and a reference from the docstrings.

sphinx-build -W --keep-going docs HTML_FOLDER
"""

import itertools
import os

# Nothing of a GPU or of TensorFlow's log is of interest here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras_regnet

project = "keras_regnet"
author = "The keras_regnet authors"
version = release = keras_regnet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "alabaster"
html_theme_options = {"page_width": "70em", "sidebar_width": "16em"}
# In docstrings, text in backticks is code.
default_role = "code"
# README and CONTRIBUTING stand beside docs/, for readers of the repository.
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    (name, "notes_style") for name in ("Source", "Input shape", "Output shape")
]


def _separate_examples(app, what, name, obj, options, lines):
    """Makes the example that ends a docstring a block of its own."""
    for number, (line, following) in enumerate(itertools.pairwise(lines)):
        if line == "Example:" and following.startswith(">>>"):
            lines[number : number + 1] = [".. rubric:: Example", ""]
            return


def setup(app):
    """Called by Sphinx; napoleon comes after."""
    app.connect("autodoc-process-docstring", _separate_examples, priority=400)
