"""Sphinx configuration: Markdown pages, and the reference taken from the docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util.docutils import SphinxDirective

import neurosim
from neurosim.language import Core

project = "neurosim"
author = "the neurosim authors"
release = version = neurosim.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
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

# A word of a docstring may be the name of several attributes: which of them a link leads to does not matter.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_math_renderer = "mathml"  # which browsers draw themselves, so that the pages need no network
html_title = f"neurosim {release}"

LITERAL_OR_STAR = re.compile(r"(``.*?``)|(?:(?<=, )|(?<=\[))\*(?=[^*]*\])")


def keep_stars_of_shapes(*arguments: Any) -> None:
    """Escape the star of a shape such as [T, B, *shape], which would begin an emphasis."""
    lines = arguments[-1]
    lines[:] = [LITERAL_OR_STAR.sub(lambda found: found[1] or r"\*", line) for line in lines]


def described_core(name: str, core: Core) -> str:
    """Return the description of a core: its equation, ports, state and parameters."""

    def one(parameter: str) -> str:
        found = core.parameters[parameter]
        return f"``{parameter}`` = {found.default:g}{f' {found.unit}' if found.unit not in ('', '1') else ''}"

    text = inspect.getdoc(core.step) or ""
    ports = ", ".join(f"``{port}``" for port in core.inputs)
    state = ", ".join(f"``{variable}``" for variable in core.state) or "none"
    facts = f"Input {ports}; state {state}; parameters {', '.join(map(one, core.parameters)) or 'none'}."
    body = "\n".join(f"   {line}" for line in [*text.splitlines(), "", facts])
    return f".. py:data:: {name}\n\n{body}\n"


class Names(SphinxDirective):
    """Describe the public names of a package, except those that are names of neurosim itself."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the descriptions of classes and functions, in the order of ``__all__``."""
        package = self.arguments[0]
        above = {*importlib.import_module("neurosim").__all__}
        module = importlib.import_module(package)
        lines = []
        for name in (each for each in module.__all__ if each not in above):
            value = getattr(module, name)
            if isinstance(value, Core):
                lines.append(described_core(f"{package}.{name}", value))
                continue
            kind = "autoclass" if inspect.isclass(value) else "autofunction" if inspect.isfunction(value) else None
            lines.append(f".. {kind}:: {package}.{name}" if kind else f"``{name}``: {type(value).__name__}.\n")
        return self.parse_text_to_nodes("\n".join(lines))


def inline_mathml(writer: Any, node: nodes.math) -> None:
    """Write a formula in a line."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_mathml(writer: Any, node: nodes.math_block) -> None:
    """Write formulas of their own, which blank lines part; wide ones scroll."""
    for formula in filter(str.strip, node.astext().split("\n\n")):
        is_table = r"\\" in formula and r"\begin" not in formula
        text = rf"\begin{{aligned}}{formula}\end{{aligned}}" if is_table else formula
        writer.body.append(f'<div style="overflow-x: auto">{convert(text, display="block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Connect hook, directive and formulas: Sphinx calls this."""
    app.add_html_math_renderer("mathml", (inline_mathml, None), (block_mathml, None))
    app.connect("autodoc-process-docstring", keep_stars_of_shapes)
    app.add_directive("names-of", Names)
