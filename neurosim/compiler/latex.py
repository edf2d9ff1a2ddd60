"""The equations of a step in LaTeX, written from the same expressions as the kernels."""

from __future__ import annotations

from neurosim.compiler.program import record
from neurosim.language import Core, Reset, atan
from neurosim.language.expression import Expression, topological
from neurosim.language.reset import ResetMode

_GREEK = ("alpha", "beta", "gamma", "tau", "theta", "rho", "sigma")
_INFIX = {"add": "+", "sub": "-", "mul": r"\,", "gt": ">", "ge": r"\geq", "lt": "<", "le": r"\leq", "eq": "="}
_RANK = {"add": 1, "sub": 1, "mul": 2, "neg": 2, "gt": 0, "ge": 0, "lt": 0, "le": 0, "eq": 0}
_AROUND = {"abs": "||", "floor": (r"\lfloor ", r"\rfloor")}
_ATOM = 9


def latex(core: Core, reset: ResetMode = "value", *, reset_amount: bool = False) -> str:
    r"""Return the step of `core` as an ``aligned`` block of LaTeX.

    Parameters
    ----------
    core : Core
        The neuron model.
    reset : {"value", "subtract", None}
        The reset to show.
    reset_amount : bool
        Whether a reset by subtraction subtracts its own amount.

    Returns
    -------
    str
        One line for each named value and for the new state; ``[t]`` marks the step, H is the unit step.

    Examples
    --------
    >>> import neurosim as ns
    >>> print(ns.latex(ns.LI.core))
    \begin{aligned}
    u[t] &= \alpha_{mem}\,v[t-1] + \left(1 - \alpha_{mem}\right)\,r\,i[t] \\
    v[t] &= u[t]
    \end{aligned}
    """
    program = record(core, atan(), Reset(reset, detached=False), own_amount=reset_amount)
    order = topological([program.output, *program.state.values()])
    uses = [arg for node in order for arg in node.args] + [program.output, *program.state.values()]
    named = {id(n): n.label for n in order if n.label and (n is program.output or uses.count(n) > 1)}
    lines = []
    for node in order:
        if id(node) in named:
            lines.append(
                f"{_named(node, named)} &= {_text(node, {k: v for k, v in named.items() if k != id(node)})[0]}"
            )
    if id(program.output) not in named and program.output not in program.state.values():
        lines.append(f"z[t] &= {_text(program.output, named)[0]}")
    for name, node in program.state.items():
        if named.get(id(node)) != name:
            lines.append(f"{_symbol(name)}[t] &= {_text(node, named)[0]}")
    body = " \\\\\n".join(lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def _symbol(name: str) -> str:
    head, _, tail = name.partition("_")
    head = f"\\{head}" if head in _GREEK else head if len(head) == 1 else f"\\mathrm{{{head}}}"
    return f"{head}_{{{tail}}}" if tail else head


def _named(node: Expression, named: dict[int, str]) -> str:
    return _symbol(named[id(node)]) + ("" if node.is_number else "[t]")


def _number(value: float) -> str:
    return f"{value:g}"


def _text(node: Expression, named: dict[int, str]) -> tuple[str, int]:
    """Return `node` in LaTeX and its precedence."""
    if id(node) in named:
        return _named(node, named), _ATOM
    op = node.op
    if op == "constant":
        return _number(node.payload), _ATOM if node.payload >= 0 else 1
    if op == "parameter":
        return ("\\Delta t" if node.payload == "dt" else _symbol(node.payload)), _ATOM
    if op == "input":
        return f"{_symbol(node.payload)}[t]", _ATOM
    if op == "state":
        return f"{_symbol(node.payload)}[t-1]", _ATOM
    if op == "detach":
        return _text(node.args[0], named)
    if op in _INFIX:
        return _infix(node, named)
    inner = [_text(arg, named)[0] for arg in node.args]
    if op == "div":
        return f"\\frac{{{inner[0]}}}{{{inner[1]}}}", _ATOM
    if op == "neg":
        return f"-{_bracketed(node.args[0], named, 2)}", 1
    if op == "spike":
        return f"H\\left({inner[0]}\\right)", _ATOM
    if op == "select":
        cases = f"{inner[1]} & \\text{{if }} {inner[0]} \\\\ {inner[2]} & \\text{{otherwise}}"
        return f"\\begin{{cases}} {cases} \\end{{cases}}", _ATOM
    if op in _AROUND:
        return f"\\left{_AROUND[op][0]}{inner[0]}\\right{_AROUND[op][1]}", _ATOM
    name = {"sqrt": "\\sqrt", "trunc": r"\operatorname{trunc}"}.get(op, f"\\{op}")
    return (f"{name}{{{inner[0]}}}" if op == "sqrt" else f"{name}\\left({', '.join(inner)}\\right)"), _ATOM


def _infix(node: Expression, named: dict[int, str]) -> tuple[str, int]:
    rank = _RANK[node.op]
    left = _bracketed(node.args[0], named, rank)
    right = _bracketed(node.args[1], named, rank + (node.op == "sub"))
    space = "" if node.op == "mul" else " "
    numbers = node.op == "mul" and left[-1].isdigit() and right[0].isdigit()
    sign = r" \cdot " if numbers else f"{space}{_INFIX[node.op]}{space}"
    # "\," before a letter needs no space; before a digit or command neither.
    return f"{left}{sign}{right}", rank


def _bracketed(node: Expression, named: dict[int, str], at_least: int) -> str:
    text, rank = _text(node, named)
    return text if rank >= at_least else f"\\left({text}\\right)"
