"""Spiking cores: each one pure step function with parameters, units and citation."""

from neurosim.cores.adex import adex
from neurosim.cores.alif import alif
from neurosim.cores.atrlif import atrlif
from neurosim.cores.beta_lif import beta_lif
from neurosim.cores.calcium_gain import calcium_gain
from neurosim.cores.conductance_lif import conductance_lif
from neurosim.cores.cuba_integrator import cuba_integrator
from neurosim.cores.cubalif import cubalif
from neurosim.cores.decolle import decolle
from neurosim.cores.graded import graded, graded_relu
from neurosim.cores.hodgkin_huxley import hodgkin_huxley
from neurosim.cores.iir_lif import iir_lif
from neurosim.cores.integrate_and_fire import integrate_and_fire
from neurosim.cores.integrator import integrator
from neurosim.cores.izhikevich import izhikevich
from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.cores.li_rinzel import li_rinzel
from neurosim.cores.lif import lif
from neurosim.cores.lif_alpha import lif_alpha
from neurosim.cores.lif_cond import lif_cond
from neurosim.cores.lif_delta import lif_delta
from neurosim.cores.lif_exp import lif_exp
from neurosim.cores.loihi import loihi, loihi_integrator, loihi_refractory
from neurosim.cores.loihi_joined import loihi_joined
from neurosim.cores.refractory_lif import refractory_lif
from neurosim.cores.reset_free_leaky import reset_free_leaky
from neurosim.cores.resonate_and_fire import resonate_and_fire, resonate_and_fire_izhikevich
from neurosim.cores.resting import cuba_integrator_resting, cubalif_resting
from neurosim.cores.sigma_delta import delta, sigma, sigma_delta, sigma_delta_cumulative
from neurosim.cores.silif import csilif, silif
from neurosim.cores.slow_lif import slow_lif
from neurosim.cores.stateless import relay, threshold
from neurosim.cores.ternary_lif import ternary_lif
from neurosim.cores.xylo import xylo

__all__ = [
    "adex",
    "alif",
    "atrlif",
    "beta_lif",
    "calcium_gain",
    "conductance_lif",
    "csilif",
    "cuba_integrator",
    "cuba_integrator_resting",
    "cubalif",
    "cubalif_resting",
    "decolle",
    "delta",
    "graded",
    "graded_relu",
    "hodgkin_huxley",
    "iir_lif",
    "integrate_and_fire",
    "integrator",
    "izhikevich",
    "leaky_integrator",
    "li_rinzel",
    "lif",
    "lif_alpha",
    "lif_cond",
    "lif_delta",
    "lif_exp",
    "loihi",
    "loihi_integrator",
    "loihi_joined",
    "loihi_refractory",
    "refractory_lif",
    "relay",
    "reset_free_leaky",
    "resonate_and_fire",
    "resonate_and_fire_izhikevich",
    "sigma",
    "sigma_delta",
    "sigma_delta_cumulative",
    "silif",
    "slow_lif",
    "ternary_lif",
    "threshold",
    "xylo",
]
