"""Sphinx configuration: Markdown pages, and the reference taken from the docstrings."""

from __future__ import annotations

from importlib.metadata import version

project = "neurosim"
author = "the neurosim authors"
release = version("neurosim")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
# Headings down to this depth can be linked to.
myst_heading_anchors = 3

# Napoleon reads the numpydoc sections; an attribute's type stands in its annotation.
napoleon_google_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
# torch's Module describes its own methods; ours are the ones of interest.
autodoc_inherit_docstrings = False
autosummary_generate = False

html_theme = "furo"
html_title = f"neurosim {release}"
