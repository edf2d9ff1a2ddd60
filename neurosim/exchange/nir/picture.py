"""Pictures of NIR graphs, as nirviz draws them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from neurosim.errors import InputError, TargetRunError
from neurosim.exchange.nir.exporting import to_nir
from neurosim.exchange.nir.files import read_graph
from neurosim.exchange.nir.graph import Node
from neurosim.files.atomic import replaced
from neurosim.network.network import Network

_ENDINGS = (".svg", ".png")


def draw_nir(
    source: str | os.PathLike[str] | Network | Any,
    path: str | os.PathLike[str],
    *,
    orientation: Literal["horizontal", "vertical"] = "horizontal",
) -> Path:
    """Draw a NIR graph: a box for each node, in the colour of its kind, and an arrow for each edge.

    Parameters
    ----------
    source : path-like, Network or nir.NIRGraph
        A ``.nir`` file, read within limits; a network, drawn as `to_nir` exports it; or a graph.
    path : path-like
        Ends in ``.svg`` or ``.png``.
    orientation : {"horizontal", "vertical"}
        Direction from input to output.

    Returns
    -------
    pathlib.Path
        The path of the picture.

    Raises
    ------
    InputError
        For another ending or orientation, or a source of another kind.
    FileError
        When the source cannot be read or the picture cannot be written; an existing file does not change.
    ExportError
        When NIR cannot express the network.
    TargetRunError
        When `nirviz`, or the program ``dot`` that it runs, is not installed, or ``dot`` fails.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.exchange.nir import draw_nir
    >>> net = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3))
    >>> draw_nir(net, "net.svg")    # doctest: +SKIP
    PosixPath('net.svg')
    """
    path = Path(path)
    if path.suffix.lower() not in _ENDINGS:
        raise InputError(f"a picture of a NIR graph must end in {' or '.join(_ENDINGS)}; got {path.name!r}.")
    if orientation not in ("horizontal", "vertical"):
        raise InputError(f'orientation must be "horizontal" or "vertical"; got {orientation!r}.')
    nirviz = _nirviz()
    graph = _graph(source)
    import graphviz

    try:
        picture = nirviz.visualize(graph, orientation=orientation).viz_graph.pipe(format=path.suffix[1:].lower())
    except (graphviz.ExecutableNotFound, graphviz.CalledProcessError) as error:
        raise TargetRunError(f"dot could not draw the graph: {error}") from error
    with replaced(path) as part:
        part.write_bytes(picture)
    return path


def _nirviz() -> Any:
    try:
        import nirviz
    except ImportError as error:
        raise TargetRunError(
            "nirviz is not installed. Install it with: pip install 'neurosim-toolkit[pictures]'"
        ) from error
    if shutil.which("dot") is None:
        raise TargetRunError("the program dot, which nirviz runs, is not installed. Debian: apt-get install graphviz")
    return nirviz


def _graph(source: Any) -> SimpleNamespace:
    """Return what nirviz draws: nodes whose class has the name of their kind, under names without signs of dot."""
    if isinstance(source, Network):
        source = to_nir(source)
    elif isinstance(source, (str, os.PathLike)):
        source = read_graph(source)
    elif not (hasattr(source, "nodes") and hasattr(source, "edges")):
        raise InputError(f"draw_nir takes a file, a Network or a nir.NIRGraph; got {type(source).__name__}.")
    names = {name: f"n{k}" for k, name in enumerate(source.nodes)}
    nodes = {}
    for name, node in source.nodes.items():
        kind = node.kind if isinstance(node, Node) else "NIRGraph" if hasattr(node, "nodes") else type(node).__name__
        nodes[names[name]] = type(kind, (), {})()
    unknown = sorted({name for edge in source.edges for name in edge} - names.keys())
    if unknown:
        raise InputError(f"an edge of the graph has the node {unknown[0]!r}, which it does not hold.")
    return SimpleNamespace(nodes=nodes, edges=[(names[a], names[b]) for a, b in source.edges])
