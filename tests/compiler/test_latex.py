"""Equations as LaTeX, word for word."""

from __future__ import annotations

import neurosim as ns
from neurosim.compiler.latex import latex
from neurosim.language.functions import absolute, exp, maximum, sqrt, where
from tests.user_cores import izhikevich


def lines(core, reset="value"):
    first, *middle, last = latex(core, reset).split("\n")
    assert first == r"\begin{aligned}" and last == r"\end{aligned}"
    return [line.removesuffix(r" \\") for line in middle]


def test_lif_with_each_reset():
    u = r"u[t] &= \alpha_{mem}\,v[t-1] + \left(1 - \alpha_{mem}\right)\,r\,i[t]"
    z = r"z[t] &= H\left(u[t] - v_{th}\right)"
    assert lines(ns.cores.lif) == [
        u,
        z,
        r"v[t] &= \begin{cases} v_{reset} & \text{if } z[t] \\ u[t] & \text{otherwise} \end{cases}",
    ]
    assert lines(ns.cores.lif, "subtract") == [u, z, r"v[t] &= u[t] - z[t]\,v_{th}"]
    assert lines(ns.cores.lif, None) == [u, z, "v[t] &= u[t]"]


def test_the_other_cores():
    assert lines(ns.cores.integrate_and_fire, None)[0] == r"u[t] &= v[t-1] + r\,i[t]"
    assert lines(ns.cores.cubalif, "subtract") == [
        r"\mathrm{current}[t] &= \alpha_{syn}\,j[t-1] + i[t]",
        r"u[t] &= \alpha_{mem}\,v[t-1] + \left(1 - \alpha_{mem}\right)\,r\,\mathrm{current}[t]",
        r"z[t] &= H\left(u[t] - v_{th}\right)",
        r"j[t] &= \mathrm{current}[t]",
        r"v[t] &= u[t] - z[t]\,v_{th}",
    ]
    adaptive = lines(ns.cores.alif, None)
    assert adaptive[1] == r"z[t] &= H\left(u[t] - \left(v_{th} + \beta\,a[t-1]\right)\right)"
    assert adaptive[3] == r"a[t] &= \alpha_{adapt}\,a[t-1] + z[t]"


def test_a_users_core():
    equations = lines(izhikevich)
    # What does not change with time carries no [t].
    assert equations[0] == r"\mathrm{ms} &= \Delta t\,1000"
    assert equations[1] == (
        r"u[t] &= v[t-1] + \mathrm{ms}\,\left(0.04\,v[t-1]\,v[t-1] + 5\,v[t-1] + 140 - w[t-1] + i[t]\right)"
    )
    assert equations[-1] == r"w[t] &= w[t-1] + \mathrm{ms}\,a\,\left(b\,v[t-1] - w[t-1]\right) + z[t]\,d"


def test_every_kind_of_operation():
    def odd(i, v):
        x = -(i + v) / absolute(v)
        y = sqrt(x) - (x - exp(x))
        return where(y >= 2.0, maximum(x, y), 6.0 * y), v

    assert lines(ns.core()(odd)) == [
        r"x[t] &= \frac{-\left(i[t] + v[t-1]\right)}{\left|v[t-1]\right|}",
        r"y[t] &= \sqrt{x[t]} - \left(x[t] - \exp\left(x[t]\right)\right)",
        # An output without a name is called z.
        r"z[t] &= \begin{cases} \max\left(x[t], y[t]\right) & \text{if } y[t] \geq 2 \\ "
        r"6\,y[t] & \text{otherwise} \end{cases}",
        r"v[t] &= v[t-1]",
    ]
