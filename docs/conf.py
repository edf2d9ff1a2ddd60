"""Sphinx configuration: Markdown pages, and the reference taken from the docstrings."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

project = "neurosim"
author = "the neurosim authors"
release = version = importlib.metadata.version("neurosim")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
# Headings down to this depth can be linked to.
myst_heading_anchors = 3

# Napoleon reads the numpydoc sections.
napoleon_google_docstring = False
# An attribute described in the section "Attributes" stands there once, not a second time as a member.
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# torch's Module describes its own methods; ours are the ones of interest.
autodoc_inherit_docstrings = False

html_theme = "furo"
html_title = f"neurosim {release}"

LITERAL_OR_STAR = re.compile(r"(``.*?``)|(?<=, )\*(?=[^*]*\])")


def keep_stars_of_shapes(*arguments: Any) -> None:
    """Escape the star of a shape such as [T, B, *shape], which would begin an emphasis."""
    lines = arguments[-1]
    lines[:] = [LITERAL_OR_STAR.sub(lambda found: found[1] or r"\*", line) for line in lines]


def setup(app: Any) -> None:
    """Connect the hook: Sphinx calls this."""
    app.connect("autodoc-process-docstring", keep_stars_of_shapes)
