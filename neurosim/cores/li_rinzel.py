"""Calcium of an astrocyte, from the messenger IP3 to the slow inward current of neighbouring neurons."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import Parameter, core, seconds
from neurosim.language.functions import log, maximum, minimum, sqrt

_MICRO = 1e-3  # one micromolar in mol/m^3


def concentration(default: float, high: float = 20.0) -> Parameter:
    """Declare a concentration by its value in micromolar; users give it in mol/m^3, 1 uM = 1e-3 mol/m^3."""
    return Parameter(default * _MICRO, unit="mol/m^3", low=0.0, high=high * _MICRO)


def rate(default: float, unit: str = "1/s", high: float = 1e3) -> Parameter:
    """Declare a rate above 0."""
    return Parameter(default, unit=unit, low=0.0, high=high)


@core(
    parameters=dict(
        tau_ip3=seconds(7.142, high=1e3),
        ip3_rest=concentration(0.16),
        delta_ip3=concentration(5.0, high=100.0),
        ca_total=concentration(2.0),
        volume=Parameter(0.185, low=0.0, high=10.0),
        leak=rate(0.11),
        channel=rate(6.0),
        pump=rate(0.9e-3, "mol/(m^3 s)", high=1.0),
        k_pump=concentration(0.1),
        k_ip3=concentration(0.13),
        k_act=concentration(0.08234),
        binding=rate(200.0, "m^3/(mol s)", high=1e6),
        k_inh=concentration(1.049),
        k_inh_ip3=concentration(0.9434),
        ca_th=concentration(0.19669),
        scale=1.0,
    ),
    state={"ip3": 0.16 * _MICRO, "ca": 0.073 * _MICRO, "h": 0.793},
)
def li_rinzel(
    i: Any,
    ip3: Any,
    ca: Any,
    h: Any,
    *,
    alpha_ip3: Any,
    ip3_rest: Any,
    delta_ip3: Any,
    ca_total: Any,
    volume: Any,
    leak: Any,
    channel: Any,
    pump: Any,
    k_pump: Any,
    k_ip3: Any,
    k_act: Any,
    binding: Any,
    k_inh: Any,
    k_inh_ip3: Any,
    ca_th: Any,
    scale: Any,
    dt: Any,
) -> tuple[Any, ...]:
    r"""Astrocyte whose calcium oscillates over the middle of the range of IP3; the output is its slow inward current.

    Weighted spikes i each release ``delta_ip3`` of IP3 at the start of their step. Then, with the volume ratio
    ``rho = volume`` of endoplasmic reticulum to cytosol and the calcium in the former
    ``Ca_ER = ca_total + (ca_total - Ca) / rho``:

    ``dIP3/dt = (ip3_rest - IP3) / tau_ip3``;
    ``dCa/dt = rho channel (m n h)^3 (Ca_ER - Ca) - pump Ca^2 / (k_pump^2 + Ca^2) + rho leak (Ca_ER - Ca)``
    with ``m = IP3 / (IP3 + k_ip3)``, ``n = Ca / (Ca + k_act)``;
    ``dh/dt = binding (k_inh (IP3 + k_ip3) / (IP3 + k_inh_ip3) (1 - h) - Ca h)``;
    ``I = scale ln(y)`` for ``y = (Ca - ca_th) / 1 nM > 1``, else 0.

    The equations, constants and start of NEST's ``astrocyte_lr_1994`` (De Young and Keizer 1992; Li and Rinzel 1994,
    doi:10.1006/jtbi.1994.1041; the current after Nadkarni and Jung 2003) without its noise, in SI units:
    concentrations in mol/m^3, of which 1 uM is 1e-3. IP3 follows its own equation exactly; Ca and h take one explicit
    midpoint step, second order in dt, where NEST adapts its steps. Calcium stays between 0 and the total,
    ``ca_total (1 + rho)``, and IP3 does not fall below 0 under negative weights.
    """

    def slopes(messenger: Any, calcium: Any, gate: Any) -> tuple[Any, Any]:
        more_in_store = ca_total + (ca_total - calcium) / volume - calcium
        open_share = messenger / (messenger + k_ip3) * (calcium / (calcium + k_act)) * gate
        released = volume * (channel * (open_share * open_share * open_share) + leak) * more_in_store
        taken_up = pump * (calcium * calcium) / (k_pump * k_pump + calcium * calcium)
        inhibited_at = k_inh * (messenger + k_ip3) / (messenger + k_inh_ip3)
        return released - taken_up, binding * (inhibited_at * (1.0 - gate) - calcium * gate)

    start = maximum(ip3 + delta_ip3 * i, 0.0)
    halfway = ip3_rest + (start - ip3_rest) * sqrt(alpha_ip3)
    ca_slope, h_slope = slopes(start, ca, h)
    ca_slope, h_slope = slopes(halfway, ca + 0.5 * dt * ca_slope, h + 0.5 * dt * h_slope)
    calcium = minimum(maximum(ca + dt * ca_slope, 0.0), ca_total * (1.0 + volume))
    # 1 nM is 1e-6 mol/m^3.
    current = scale * log(maximum((calcium - ca_th) * 1e6, 1.0))
    return current, ip3_rest + (start - ip3_rest) * alpha_ip3, calcium, h + dt * h_slope
