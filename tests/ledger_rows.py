"""The rows of the fidelity ledger; see `tests.ledger`."""

from __future__ import annotations

from typing import NamedTuple

KINDS = {
    "core": "Cores",
    "rule": "Learning rules and plasticity",
    "model": "Published systems",
    "export": "Exports, imports and quantisation",
    "encoder": "Encoders",
}
SAME_SPIKES = "0 spikes differ"
AT_THRESHOLD = "fires at `>`, Lava at `>=`"
AT_NEST_THRESHOLD = "fires at `>`, NEST at `>=`"
NEST = "[NEST](https://nest-simulator.readthedocs.io) 3.10"
_ONE_STEP = "cores/test_one_step.py"
NIR = "[NIR](https://neuroir.org/docs/primitives.html)"
LAVA = "[lava-nc 0.10](https://github.com/lava-nc/lava)"


class Row(NamedTuple):
    """A line of the ledger.

    Attributes
    ----------
    kind : str
        One of KINDS.
    name : str
        Name of the object in its package.
    reference : str
        What it is compared with, with a link.
    check : str
        Test that compares, as ``file::function``.
    difference : str
        Known difference from the reference.
    observed : str
        What the test observes, where that is no error of numbers; the measured error if empty.
    """

    kind: str
    name: str
    reference: str
    check: str
    difference: str = ""
    observed: str = ""


def _rows(kind: str, folder: str, *rows: tuple[str, ...]) -> list[Row]:
    return [Row(kind, name, reference, f"{folder}/{check}", *rest) for name, reference, check, *rest in rows]


_DRIVE = "network/test_neuron.py::test_constant_drive_below_threshold_is_solved_exactly"
_MEMBRANES = "exchange/nir/test_exporting.py::test_an_independent_reader_gets_every_membrane"
_SPIKES = "exchange/nir/test_exporting.py::test_an_independent_reader_gets_every_spike"
_TRACE = "cores/test_lava_cores.py::test_trace_of_lava"
_SIGMA = "cores/test_sigma_delta.py"
_PYTHON = "cores/test_loihi.py::test_whole_numbers_of_python"
_GRADED = "hardware/lava/test_integers.py::test_graded_spikes_without_memory_are_exact"
_DAVIES = "[Davies et al. 2018](https://doi.org/10.1109/MM.2018.112130359), " + LAVA

CORES = _rows(
    "core",
    "tests",
    ("integrate_and_fire", f"{NIR} `IF`", _SPIKES, "", SAME_SPIKES),
    ("integrator", f"{NIR} `I`", _MEMBRANES),
    ("leaky_integrator", "exact solution for constant drive", _DRIVE),
    ("lif", "exact solution for constant drive (Lapicque 1907)", _DRIVE),
    (
        "cubalif",
        "exact response to one spike",
        "network/test_neuron.py::test_cubalif_converges_with_first_order",
        "first order in dt: the current is constant in a step",
        "error halves with dt",
    ),
    ("cuba_integrator", f"{NIR} `CubaLI`", _MEMBRANES),
    ("cuba_integrator_resting", f"{NIR} `CubaLI`", _MEMBRANES, "v starts at 0"),
    ("cubalif_resting", f"{NIR} `CubaLIF`", _SPIKES, "v starts at 0", SAME_SPIKES),
    (
        "conductance_lif",
        "loop over its equation",
        "cores/test_conductance_lif.py::test_it_is_the_integration_of_its_equation",
        "conductances are constant in a step: exact between spikes",
    ),
    (
        "alif",
        "[Bellec et al. 2020](https://doi.org/10.1038/s41467-020-17236-y), fixed point of the rate",
        "cores/test_alif.py::test_the_rate_solves_its_fixed_point",
        "the default `beta` is ours; a spike raises the threshold from the next step on",
    ),
    ("slow_lif", "the core `lif`", "cores/test_slow_lif.py::test_it_is_lif_with_a_wider_range"),
    ("refractory_lif", LAVA, _TRACE, f"no synaptic current; {AT_THRESHOLD}", SAME_SPIKES),
    ("atrlif", LAVA, _TRACE, AT_THRESHOLD, SAME_SPIKES),
    (
        "ternary_lif",
        LAVA,
        "cores/test_lava_cores.py::test_ternary_trace_of_lava",
        "no synaptic current",
        SAME_SPIKES,
    ),
    (
        "silif",
        "[Fabre et al. 2025](https://arxiv.org/abs/2506.06374), its recursion in a loop",
        "cores/test_silif.py::test_silif_is_the_recursion_of_the_paper",
        "the state starts at 0, in the authors' program at random",
        SAME_SPIKES,
    ),
    (
        "csilif",
        "[Fabre et al. 2025](https://arxiv.org/abs/2506.06374), a complex recursion",
        "cores/test_silif.py::test_csilif_is_a_complex_membrane",
        "the state starts at 0, in the authors' program at random",
        SAME_SPIKES,
    ),
    (
        "resonate_and_fire",
        f"{LAVA}; a damped turn, exactly",
        "cores/test_lava_cores.py::test_an_oscillator_left_alone_turns_at_its_frequency_and_decays",
        AT_THRESHOLD,
    ),
    (
        "resonate_and_fire_izhikevich",
        f"{LAVA}; [Izhikevich 2001](https://doi.org/10.1016/S0893-6080(01)00078-8)",
        _TRACE,
        AT_THRESHOLD,
        SAME_SPIKES,
    ),
    (
        "reset_free_leaky",
        "[Fang et al. 2023](https://arxiv.org/abs/2304.12760); `lif` without reset",
        "parallel/test_reset_free.py::test_it_is_the_lif_core_without_reset_bit_for_bit",
    ),
    (
        "decolle",
        "[Kaiser et al. 2020](https://doi.org/10.3389/fnins.2020.00424) and the authors' program",
        "learning/rules/test_decolle.py::test_it_is_the_program_step_by_step",
        "the filters act after the weights, which is the same",
    ),
    (
        "beta_lif",
        "[snnTorch 1.0](https://github.com/jeshraghian/snntorch)",
        "cores/test_beta_lif.py::test_it_is_the_leaky_neuron_of_snntorch",
        "compared without reset, which acts a step late there",
    ),
    (
        "iir_lif",
        "[Chowdhury et al. 2021](https://arxiv.org/abs/2110.05929) and the authors' program",
        "models/test_iir.py::test_spikes_and_gradients_are_those_of_the_equations",
    ),
    (
        "calcium_gain",
        "its equations (this project's)",
        "models/test_astrocyte_gain.py::test_the_equations_step_by_step",
    ),
    (
        "li_rinzel",
        "[NEST](https://nest-simulator.readthedocs.io) `astrocyte_lr_1994`",
        "cores/test_li_rinzel.py::test_the_equations_hold_step_by_step",
        "fixed midpoint steps, second order, in place of adaptive ones; no noise",
    ),
    (
        "lif_delta",
        f"{NEST} `iaf_psc_delta`, one spike through a step",
        f"{_ONE_STEP}::test_the_membrane_after_a_spike_is_that_of_nest",
        AT_NEST_THRESHOLD,
    ),
    (
        "lif_exp",
        f"{NEST} `iaf_psc_exp`, 1 s of CUBA (Brette et al. 2007)",
        "circuit/test_nest.py::test_cuba_gives_the_raster_of_nest",
        AT_NEST_THRESHOLD,
        SAME_SPIKES,
    ),
    (
        "lif_alpha",
        f"{NEST} `iaf_psc_alpha`, one spike through a step",
        f"{_ONE_STEP}::test_the_membrane_after_a_spike_is_that_of_nest",
        AT_NEST_THRESHOLD,
    ),
    (
        "lif_cond",
        "[Brian2](https://brian2.readthedocs.io) 2.9, 0.8 s of COBA (Brette et al. 2007)",
        "circuit/test_brian2.py::test_coba_gives_the_raster_of_brian2_in_double_precision",
        "first order in dt; Brian2 holds a neuron for one step less than its refractory time",
        SAME_SPIKES,
    ),
    (
        "adex",
        "[Brette & Gerstner 2005](https://doi.org/10.1152/jn.00686.2005), its equations by an adaptive method",
        "cores/test_adex.py::test_spike_times_converge_to_those_of_the_equations_with_first_order",
        "first order in dt; the exponent is at most 20; at most one spike in a step",
        "error halves with dt",
    ),
    (
        "izhikevich",
        "[Izhikevich 2003](https://doi.org/10.1109/TNN.2003.820440), the published program",
        "cores/test_izhikevich.py::test_spikes_are_those_of_the_published_program",
        "fires at `>`, the program at `>=`, where its next step begins",
        SAME_SPIKES,
    ),
    (
        "hodgkin_huxley",
        "[Brian2](https://brian2.readthedocs.io) 2.9, 0.1 s of its example COBAHH (Brette et al. 2007)",
        "cores/test_hodgkin_huxley.py::test_it_is_that_of_brian2",
        "first order in dt; exponents of rates are at most 60",
    ),
    ("relay", f"{NIR} `Scale` of 1", "cores/test_without_reset.py::test_without_state"),
    ("threshold", f"{NIR} `Threshold`", "cores/test_without_reset.py::test_without_state"),
    (
        "sigma",
        f"{LAVA}; the network ReLU(W x + b)",
        f"{_SIGMA}::test_with_a_threshold_of_zero_the_network_is_the_ordinary_one",
    ),
    (
        "delta",
        f"{LAVA}; bound on the receiver's error",
        f"{_SIGMA}::test_the_receiver_is_never_further_off_than_the_threshold",
        "",
        "error below `v_th`",
    ),
    ("sigma_delta", LAVA, f"{_SIGMA}::test_trace_of_lava", "sends at `>=` as the program does", "0 values differ"),
    ("sigma_delta_cumulative", LAVA, f"{_SIGMA}::test_trace_of_lava", "", "0 values differ"),
    ("graded", f"{LAVA} `GradedVec`", _GRADED, "", "0 values differ"),
    ("graded_relu", f"{LAVA} `GradedReluVec`", _GRADED, "", "0 values differ"),
    (
        "loihi",
        f"{_DAVIES}, fixed-point model",
        "hardware/loihi/test_exact.py::test_random_networks",
        "",
        "0 bits differ",
    ),
    ("loihi_refractory", "Python's integers", _PYTHON, "the delay is that of nengo-loihi's emulator", "0 bits differ"),
    (
        "loihi_integrator",
        f"{_DAVIES}, fixed-point model",
        "hardware/lava/test_integers.py::test_no_bit_differs",
        "",
        "0 bits differ",
    ),
    (
        "xylo",
        "xylosim 0.1.3",
        "hardware/xylo/test_exact.py::test_the_fused_core_equals_the_recorded_runs",
        "a network adds the arrivals of a step before it saturates",
        "0 bits differ",
    ),
    (
        "loihi_joined",
        "Python's integers",
        "models/test_astrocyte_sic.py::test_a_joined_compartment_rounds_towards_zero_and_stays_in_24_bits",
        "Lava has no process for it",
        "0 bits differ",
    ),
)

RULES = _rows(
    "rule",
    "tests",
    ("BPTT", "loop with autograd", "learning/rules/test_base.py::test_bptt_is_the_loop_that_keeps_the_graph"),
    (
        "Penalised",
        "autograd through the sum of loss and penalties",
        "learning/test_penalties.py::test_the_gradient_is_that_of_the_sum",
    ),
    (
        "SLTT",
        "[Meng et al. 2023](https://arxiv.org/abs/2302.14311), loop with autograd",
        "learning/rules/test_base.py::test_sltt_is_the_loop_that_detaches_at_every_step",
    ),
    (
        "OTTT",
        "[Xiao et al. 2022](https://arxiv.org/abs/2210.04195), its equations",
        "learning/rules/test_ottt.py::test_the_gradients_are_those_of_the_definition",
    ),
    (
        "EProp",
        "[Bellec et al. 2020](https://doi.org/10.1038/s41467-020-17236-y); autograd with recurrent spikes held fixed",
        "learning/rules/test_eprop.py::test_it_is_autograd_with_the_recurrent_spikes_held_fixed",
        "no refractory period; a reset acts in the step of its spike",
    ),
    (
        "EventProp",
        "[Wunderlich & Pehle 2021](https://doi.org/10.1038/s41598-021-91786-z); `exact_events`",
        "learning/rules/test_eventprop.py::test_on_a_fine_grid_it_is_the_exact_gradient_of_the_events",
        "spikes on the grid: an error of order dt",
        "error falls with dt",
    ),
    (
        "FPTT",
        "[Kag & Saligrama 2021](https://proceedings.mlr.press/v139/kag21a.html); online gradient descent for alpha 0",
        "learning/rules/test_fptt.py::test_without_regulariser_it_is_online_gradient_descent",
        "without the authors' auxiliary loss",
    ),
    (
        "DECOLLE",
        "[Kaiser et al. 2020](https://doi.org/10.3389/fnins.2020.00424) and the authors' program",
        "learning/rules/test_decolle.py::test_it_is_the_program_step_by_step",
    ),
    (
        "ForwardForward",
        "[Hinton 2022](https://arxiv.org/abs/2212.13345), its loss layer by layer",
        "learning/rules/test_forward_forward.py::test_it_is_the_equation_layer_by_layer",
        "the spiking form is ours",
    ),
    (
        "HLOP",
        "[Xiao et al. 2024](https://arxiv.org/abs/2402.11984); gradients projected by hand",
        "learning/rules/test_hlop.py::test_the_gradient_is_that_of_the_rule_projected_off_the_frozen_rows",
        "lateral neurons learn once per batch",
    ),
    (
        "WithActivity",
        "[Yousefzadeh & Sifalakis 2021](https://arxiv.org/abs/2107.07305); autograd of the sum of both losses",
        "models/test_delta_activity.py::test_the_gradients_are_those_of_both_losses",
    ),
    (
        "Plasticity",
        "a loop over time",
        "plasticity/test_engine.py::test_weights_move_while_the_network_runs",
    ),
    (
        "PairSTDP",
        "exponential window ([Bi & Poo 1998](https://doi.org/10.1523/JNEUROSCI.18-24-10464.1998))",
        "plasticity/test_stdp.py::test_a_single_pair_changes_the_weight_by_the_exponential_window",
    ),
    (
        "TsodyksMarkram",
        "closed form of a regular train",
        "plasticity/test_short_term.py::test_the_amplitude_of_a_regular_train_approaches_the_closed_form",
    ),
    (
        "TripletSTDP",
        "[Pfister & Gerstner 2006](https://doi.org/10.1523/JNEUROSCI.1425-06.2006), closed form over frequency",
        "plasticity/test_stdp.py::test_the_triplet_rule_has_the_published_dependence_on_frequency",
    ),
    (
        "InhibitorySTDP",
        "[Vogels et al. 2011](https://doi.org/10.1126/science.1211095), its symmetric window",
        "plasticity/test_inhibitory.py::test_one_pair_strengthens_by_the_symmetric_window_less_the_cost_of_a_presynaptic_spike",
        "spikes in one step count on both sides, or with `coincident=False` on none",
    ),
    (
        "RewardModulated",
        "[Izhikevich 2007](https://doi.org/10.1093/cercor/bhl152), its eligibility by hand",
        "plasticity/test_engine.py::test_reward_releases_what_is_eligible",
    ),
    (
        "HomeostaticScaling",
        "`SynapticScaling` between calls of the layered run",
        "circuit/test_intervals.py::test_scaling_is_that_of_the_layered_rule_between_calls",
    ),
    (
        "HomeostaticThreshold",
        "`ThresholdHomeostasis` between calls",
        "circuit/test_intervals.py::test_thresholds_are_those_of_the_layered_rule_between_calls",
        "",
        "same spikes and thresholds, bit for bit",
    ),
    (
        "Rewiring",
        "partners chosen from a list of those that are free; runs of networks rewired by hand",
        "circuit/test_rewired.py::test_the_run_is_that_of_networks_rewired_by_hand",
        "",
        "same spikes and weights, bit for bit",
    ),
    (
        "Rewards",
        "closed form of one pair and one reward, with both delays",
        "circuit/test_rewarded.py::test_r4_one_pair_and_one_reward_change_the_weight_by_the_closed_form",
    ),
    (
        "SoftHebb",
        "[Moraitis et al. 2022](https://doi.org/10.1088/2634-4386/aca710), its equation",
        "plasticity/test_soft_hebb.py::test_the_update_is_that_of_the_equation",
    ),
    (
        "SoftHebbConv",
        "[Journé et al. 2023](https://arxiv.org/abs/2209.11883); the dense rule on every patch",
        "plasticity/test_soft_hebb.py::test_the_convolution_is_the_dense_rule_on_every_patch",
    ),
    (
        "LiquidAstrocyte",
        "[Ivanov & Michmizos 2021](https://arxiv.org/abs/2111.01760), fixed point of its level",
        "plasticity/test_astrocytes.py::test_the_level_rests_at_its_fixed_point",
    ),
    (
        "AstrocyteModulated",
        "[Ivanov & Michmizos 2021](https://arxiv.org/abs/2111.01760) and the authors' program",
        "plasticity/test_astrocytes.py::test_weights_and_level_follow_the_program_step_by_step",
        "without the factor by which rates may decrease",
    ),
    (
        "ThresholdHomeostasis",
        "its equation, by hand",
        "plasticity/test_homeostasis.py::test_the_steps_are_those_of_the_equations",
    ),
    (
        "SynapticScaling",
        "[Turrigiano et al. 1998](https://doi.org/10.1038/36103); its equation, by hand",
        "plasticity/test_homeostasis.py::test_the_steps_are_those_of_the_equations",
    ),
    (
        "NeuromodulatedAdaptation",
        "in the manner of [Tang et al. 2023](https://arxiv.org/abs/2303.00914); entropy minimisation by autograd",
        "plasticity/test_adaptation.py::test_without_the_hebbian_part_it_is_entropy_minimisation_of_one_layer",
        "the equations are ours, the paper's are not public",
    ),
    (
        "exact_events",
        "finite differences of spike times",
        "circuit/test_exact_events.py::test_gradients_of_spike_times_are_those_of_finite_differences",
    ),
    (
        "jump_events",
        "[Brette et al. 2007](https://doi.org/10.1007/s10827-007-0038-6), benchmark 4; NEST 3.10 `iaf_psc_delta_ps`",
        "circuit/test_asynchronous.py::test_the_spikes_are_those_of_nest",
        "NEST 3.11 computes with expm1",
    ),
    (
        "siegert_rate",
        "[Siegert 1951](https://doi.org/10.1103/PhysRev.81.617); its integral, by 40 digits",
        "analysis/test_mean_field.py::test_the_formula_by_direct_integration",
        "rates below 1e-290 Hz may be 0",
    ),
)

MODELS = _rows(
    "model",
    "tests",
    (
        "GainAstrocyte",
        "its equations (this project's)",
        "models/test_astrocyte_gain.py::test_the_equations_step_by_step",
        "not the AM-SU of AstroSNN, whose equations are not public",
    ),
    (
        "SlowInwardCurrent",
        "[Tang et al. 2019](https://arxiv.org/abs/1907.01620); an emulation in integers",
        "models/test_astrocyte_sic.py::test_integer_arithmetic_spikes_as_an_emulation",
        "the table of settings for a given burst is not built",
        SAME_SPIKES,
    ),
    (
        "DeltaActivation",
        "[Yousefzadeh & Sifalakis 2021](https://arxiv.org/abs/2107.07305); the sum of changes is the value",
        "models/test_delta.py::test_changes_sum_to_the_values",
    ),
    (
        "ActiveDendrites",
        "Iyer et al. 2022, from its description; gating by hand",
        "models/test_dendrites.py::test_the_strongest_segment_gates_with_its_sign",
    ),
    (
        "Segments",
        "exact hypergeometric probabilities",
        "models/test_dendrites.py::test_false_matches_of_the_reference_table",
        "",
        "4 digits equal",
    ),
    (
        "EarlyExit",
        "[Li et al. 2023](https://arxiv.org/abs/2303.10276); the full run cut off",
        "models/test_early_exit.py::test_a_run_that_stops_is_the_full_run_cut_off",
    ),
    (
        "calibrate",
        "temperature of Gaussian evidence, 1 / signal; [Guo et al. 2017](https://arxiv.org/abs/1706.04599)",
        "models/test_early_exit.py::test_the_temperature_of_gaussian_evidence_is_one_over_the_signal",
        "",
        "within 4 % for 10,000 samples",
    ),
    (
        "ELM",
        "[Spieler et al. 2023](https://arxiv.org/abs/2306.16922), an independent loop",
        "models/test_elm.py::test_it_equals_the_equations_of_the_authors",
    ),
    (
        "windows",
        "sizes and indices of the authors' program on NeuronIO",
        "models/test_elm.py::test_windows_of_neuronio",
        "",
        "indices equal",
    ),
    (
        "ELMLayer",
        "the neuron fed back, step by step; with gradients, the layer in torch's operations",
        "kernels/elm_layer/test_cpu.py::test_fused_and_steps_agree",
    ),
    (
        "ELMNetwork",
        "sizes of the authors' program",
        "models/test_elm_layer.py::test_the_sizes_left_out_are_the_authors",
        "",
        "sizes equal",
    ),
    (
        "released_elm",
        "the equations of the authors' programs, their names of weights",
        "models/test_elm_released.py::test_the_outputs_are_those_of_the_published_equations",
        "the released files were not available",
    ),
    (
        "iterative_lif",
        "[Zheng et al. 2021](https://arxiv.org/abs/2011.05280), thresholds of the normalisation",
        "models/test_image_networks.py::test_normalisation_starts_at_the_threshold_and_at_its_share_in_a_sum",
    ),
    (
        "resnet18",
        "[Fang et al. 2021](https://arxiv.org/abs/2102.04159), Zheng et al. 2021, a loop of the blocks",
        "models/test_image_networks.py::test_a_resnet_computes_the_equations_of_its_blocks",
        "identity shortcuts are not normalised; not trained",
    ),
    (
        "vgg11",
        "sizes of torch's VGG with normalisation",
        "models/test_image_networks.py::test_the_vggs_have_the_published_numbers_of_parameters",
        "not trained",
        "sizes equal",
    ),
    (
        "rate_coded",
        "[Rueckauer et al. 2017](https://doi.org/10.3389/fnins.2017.00682), bound of the first layer",
        "models/test_rate_conversion.py::test_the_bound_of_the_first_layer_holds_for_any_constant_current",
        "no bound for deeper layers",
        "error within half a threshold over T",
    ),
    (
        "adaptive_speech",
        "an independent loop",
        "models/test_speech.py::test_it_computes_a_plain_loop_of_its_equations",
    ),
    (
        "digits_network",
        "accuracy of its card",
        "models/test_shipped_weights.py::test_the_digits_network_has_the_accuracy_of_its_card",
        "",
        "accuracy equal",
    ),
    (
        "silif_neurons",
        "[Fabre et al. 2025](https://arxiv.org/abs/2506.06374), the ranges of its program",
        "models/test_state_space.py::test_rates_start_in_the_ranges_of_the_authors",
        "",
        "0 outside the ranges",
    ),
    (
        "MagnitudePruning",
        "[Zhu & Gupta 2017](https://arxiv.org/abs/1710.01878), eq. 1 and the smallest weights",
        "learning/sparsity/test_sparsity.py::test_the_smallest_weights_are_pruned_and_stay_pruned",
        "",
        "0 other weights",
    ),
    (
        "DynamicSparsity",
        "[Evci et al. 2020](https://arxiv.org/abs/1911.11134), [Mocanu et al. 2018](https://doi.org/10.1038/s41467-018-04316-3)",
        "learning/sparsity/test_sparsity.py::test_dropped_weights_are_replaced_and_their_number_stays",
        "moments of the optimizer go on for pruned weights",
        "0 other weights",
    ),
    (
        "HopfieldMemory",
        "error of one step and capacity by theory; overlaps with blank entries, Agliari et al. 2012",
        "models/test_associative.py::test_the_error_of_one_step_is_that_of_theory",
        "",
        "5 % of the error rate",
    ),
    (
        "DenseMemory",
        "[Krotov & Hopfield 2016](https://arxiv.org/abs/1606.01164); of power 2 Hopfield's network",
        "models/test_associative.py::test_of_power_two_it_is_hopfield_s_network",
        "",
        "0 neurons differ",
    ),
    (
        "ModernMemory",
        "[Ramsauer et al. 2020](https://arxiv.org/abs/2008.02217), torch's attention",
        "models/test_associative.py::test_a_step_of_the_modern_network_is_attention",
        "",
        "1e-14",
    ),
    (
        "SpikePoint",
        "numbers of parameters in a description of the paper, which are rounded",
        "models/test_spike_point.py::test_numbers_of_parameters_round_to_the_published_ones",
        "widths and neurons follow descriptions; fires above the threshold; distances are coded up to one deviation",
        "0.58, 0.16, 0.79, 1.05 million",
    ),
    (
        "grouped_points",
        "a sort of all distances",
        "models/test_spike_point.py::test_neighbours_are_those_of_all_distances_and_centres_cover_the_cloud",
    ),
    (
        "SpikeFormer",
        "numbers of parameters of the authors' classes",
        "models/test_spikeformer.py::test_numbers_of_parameters_are_those_of_the_authors_program",
        "neurons fire above the threshold, theirs at it too; `sdsa1`, `sdsa2`, `sdsa4` follow descriptions",
        "numbers equal",
    ),
    (
        "fold_spikeformer",
        "the layers before folding, borders included",
        "models/test_spikeformer.py::test_folded_layers_are_one_convolution",
    ),
    (
        "SpikeAttention",
        "the sums over tokens written out, spike for spike",
        "models/test_spikeformer.py::test_attention_is_its_definition",
    ),
    (
        "ContentMemory",
        "the recorded output of the authors' functional experiment on SpiNNaker",
        "models/test_content_memory.py::test_the_functional_experiment_is_the_recorded_one",
        "populations behind the output are not compared; without dentate gyrus and CA1",
        "0 spikes differ",
    ),
    (
        "ResistiveLiquid",
        "the loop of its equation",
        "models/test_resistive_liquid.py::test_the_liquid_is_its_equation",
        "spread of the cells and scale of the weights are not those of a measured chip",
        "0 spikes differ",
    ),
    (
        "SharedReadout",
        "the symmetric cross-entropy written out",
        "models/test_resistive_liquid.py::test_the_shared_readout_is_the_symmetric_cross_entropy",
    ),
    (
        "LegendreMemory",
        "Voelker et al. 2019; SciPy's zero-order hold, a window of band-limited input",
        "models/test_legendre.py::test_the_delay_line_holds_the_window_and_the_transposed_matrix_does_not",
        "",
        "error 0.015",
    ),
    (
        "l2mu",
        "[Fra et al. 2024](https://arxiv.org/abs/2407.04076), its cell in a loop",
        "models/test_legendre.py::test_the_cell_is_that_of_the_paper",
        '`variant="code"`: the transposed matrix of the program',
        "0 spikes differ",
    ),
    (
        "AstrocyteAttention",
        "[Mia et al. 2026](https://arxiv.org/abs/2601.00426) as summarised by others; its quadratic form",
        "models/test_astrocyte_attention.py::test_attention_is_its_quadratic_form",
        "positions of the hidden neurons, scale and exponent are ours",
        "1e-13",
    ),
    (
        "retention_factors",
        "the same; NEST's `astrocyte_lr_1994` integrated by SciPy",
        "models/test_astrocyte_attention.py::test_factors_are_those_of_the_astrocyte_integrated_by_scipy",
        "the equation of the potentiation is ours",
        "1e-6 of a factor",
    ),
    (
        "ReplayMemory",
        "the same; backpropagation through all segments in double precision",
        "models/test_astrocyte_attention.py::test_the_gradient_with_replay_is_that_of_full_bptt",
        "first memory and read-out are ours",
        "0 values differ",
    ),
    (
        "SwimmerCircuit",
        "[ncap](https://github.com/nikhilxb/ncap): numbers of weights, lag of the wave, mirror image",
        "models/test_swimmer_circuit.py::test_half_a_period_later_the_mirror_image_moves_alike",
        "no training by evolution, no MuJoCo: an overdamped body",
        "0 angles differ",
    ),
    (
        "ThoughtMachine",
        "[Darlow et al. 2025](https://arxiv.org/abs/2505.05522); its synchronisation in closed form",
        "models/test_thought_machine.py::test_synchrony_is_a_decayed_sum_over_all_ticks",
        "the synapse model is that of depth 1",
        "1e-13",
    ),
    (
        "TimescaleNetwork",
        "[Khajehabdollahi et al. 2024](https://arxiv.org/abs/2309.12927), both forms of its recursion in a loop",
        "models/test_timescales.py::test_the_recursion_of_program_and_paper",
        "",
        "1e-12",
    ),
    (
        "LiquidNeurons",
        "[Yin et al. 2023](https://doi.org/10.1038/s42256-023-00650-4), its equations",
        "models/test_liquid_neurons.py::test_the_equations_step_by_step",
        "no gradient passes through the reset",
    ),
    (
        "FrameWhitening",
        "[Duong et al. 2023](https://arxiv.org/abs/2301.11955), closed form",
        "models/test_whitening.py::test_the_closed_form_whitens_exactly_with_just_enough_vectors",
        "responses at rest, no dynamics in time",
    ),
    (
        "set_thresholds",
        "[Chowdhury et al. 2021](https://arxiv.org/abs/2110.05929), percentiles of currents",
        "models/test_iir.py::test_thresholds_are_percentiles_of_the_current_and_not_of_the_membrane",
    ),
    (
        "reduce_steps",
        "[Chowdhury et al. 2021](https://arxiv.org/abs/2110.05929) and the authors' program",
        "models/test_iir_stages.py::test_weights_thresholds_and_leaks_pass_on_bit_for_bit",
        "`stages` is a choice of the caller",
    ),
    (
        "PSN",
        "[Fang et al. 2023](https://arxiv.org/abs/2304.12760), its definition",
        "parallel/test_psn.py::test_it_equals_its_definition",
    ),
    (
        "MaskedPSN",
        "[Fang et al. 2023](https://arxiv.org/abs/2304.12760), reach of the mask",
        "parallel/test_psn.py::test_fully_masked_each_output_depends_on_the_last_order_steps",
    ),
    (
        "SlidingPSN",
        "`MaskedPSN` with the same weights on each diagonal",
        "parallel/test_sliding.py::test_it_is_a_masked_psn_with_the_same_weights_on_each_diagonal",
    ),
    (
        "ResetFreeLeaky",
        "a parallel scan",
        "parallel/test_reset_free.py::test_a_scan_gives_the_same_membrane_and_gradient",
    ),
)

_SNN = "[snnTorch 1.0](https://github.com/jeshraghian/snntorch)"
_NORSE = "[Norse 1.1](https://github.com/norse/norse)"
EXPORTS = _rows(
    "export",
    "tests",
    ("to_nir", f"an independent reader of {NIR}", _MEMBRANES, '`reset="subtract"` is refused'),
    ("write_nir", f"an independent reader of {NIR}", "exchange/nir/test_exporting.py::test_a_circuit_of_everything"),
    (
        "write_nir_1_0_4",
        "`from_nir`, the network given",
        "exchange/nir/test_older.py::test_it_is_read_back_with_the_reset_by_subtraction",
        "the reset by subtraction alone",
        SAME_SPIKES,
    ),
    (
        "from_nir",
        "`to_nir`, there and back",
        "exchange/nir/test_importing.py::test_any_small_network_comes_back_bit_for_bit",
    ),
    (
        "to_lava",
        f"{LAVA}, floating-point processes",
        "hardware/lava/test_export.py::test_no_spike_differs",
        AT_THRESHOLD,
        SAME_SPIKES,
    ),
    (
        "describe",
        f"{LAVA}, fixed-point processes",
        "hardware/lava/test_integers.py::test_no_bit_differs",
        "run on no chip",
        "0 bits differ",
    ),
    (
        "quantise",
        "the network in floating point",
        "hardware/quantise/test_quantise.py::test_networks_of_every_kind",
        "integers round",
        "spikes differ by less than 12 % at 8 bits",
    ),
    (
        "to_xylo",
        "xylosim 0.1.3 where it is installed",
        "hardware/xylo/test_exact.py::test_a_network_equals_xylosim_and_a_difference_is_seen",
        "arrivals of a step are added before they saturate",
        "0 bits differ",
    ),
    (
        "from_xylo",
        "the plain definition of the chip",
        "hardware/xylo/test_exact.py::test_a_network_computes_what_its_configuration_does_while_no_sum_leaves_16_bits",
        "aliases inside a population are refused",
        "0 bits differ",
    ),
    (
        "quantise_xylo",
        "the network in floating point",
        "hardware/xylo/test_quantisation.py::test_spikes_are_those_of_the_network_one_step_late_but_few",
        "integers round; several spikes in a step",
        "numbers of spikes differ by less than 5 %",
    ),
    (
        "read_netx",
        "netx of [lava-dl](https://github.com/lava-nc/lava-dl), its reading of a file by hand",
        "hardware/netx/test_netx.py::test_a_file_is_run_as_netx_runs_it",
        "",
        SAME_SPIKES,
    ),
    (
        "write_netx",
        "`read_netx`",
        "hardware/netx/test_netx.py::test_what_is_written_comes_back",
        "one delay for each neuron",
    ),
    ("to_norse", _NORSE, "exchange/peers/test_norse.py::test_out_and_the_same_spikes", "", SAME_SPIKES),
    ("from_norse", _NORSE, "exchange/peers/test_norse.py::test_lif_box", "", SAME_SPIKES),
    ("to_snntorch", _SNN, "exchange/peers/test_snntorch.py::test_out_and_the_same_spikes", "", SAME_SPIKES),
    ("from_snntorch", _SNN, "exchange/peers/test_snntorch.py::test_leaky", "", SAME_SPIKES),
    (
        "from_spikingjelly",
        "[SpikingJelly 2.0](https://github.com/fangwei123456/spikingjelly)",
        "exchange/peers/test_spikingjelly.py::test_if",
        "fires at `>`, SpikingJelly at `>=`: thresholds are lowered by one step of the precision",
        SAME_SPIKES,
    ),
    (
        "from_sinabs",
        "[sinabs 3.1](https://github.com/synsense/sinabs)",
        "exchange/peers/test_sinabs.py::test_iaf",
        "fires at `>`, sinabs at `>=`: thresholds are lowered by one step of the precision",
        SAME_SPIKES,
    ),
    (
        "from_rockpool",
        "[Rockpool 3.1](https://github.com/synsense/rockpool) where it is installed, else its documented equations",
        "exchange/peers/test_rockpool.py::test_lif",
        "fires at `>`, Rockpool at `>=`: thresholds are lowered by one step of the precision",
        SAME_SPIKES,
    ),
    (
        "from_slayer",
        "[lava-dl 0.6](https://github.com/lava-nc/lava-dl) where it is installed, else its documented arithmetic",
        "exchange/peers/test_slayer.py::test_dense",
        "currents and membranes wrap or stop at 2^23, those of lava-dl do not",
        SAME_SPIKES,
    ),
)

ENCODERS = _rows(
    "encoder",
    "tests/datasets",
    (
        "rate",
        "the probability of a spike",
        "test_encoders.py::test_rate_converges_to_the_probability",
        "",
        "within 5 standard deviations",
    ),
    ("latency", "the linear law", "test_encoders.py::test_latency_follows_its_linear_law", "", "0 steps differ"),
    (
        "delta_modulation",
        "bound on the receiver's error",
        "test_encoders.py::test_delta_is_never_a_threshold_away_from_slow_signals",
        "",
        "error below one threshold",
    ),
    ("direct", "the value itself", "test_encoders.py::test_direct_is_exact_and_copies_nothing", "", "0 values differ"),
    (
        "phase",
        "the binary digits of the value",
        "test_codes.py::test_phases_are_binary_digits",
        "",
        "half of the last digit, a whole one at the largest value",
    ),
    (
        "burst",
        "number and interval of the spikes by their formulas",
        "test_codes.py::test_a_burst_counts_and_hastens",
        "",
        "0 steps differ",
    ),
    (
        "population",
        "Gaussian receptive fields and the vote of their centres",
        "test_codes.py::test_a_population_has_gaussian_fields_and_votes",
        "",
        "within 0.02 of a range of 2.8 without noise, 0.03 from spikes",
    ),
    (
        "sigma_delta_modulation",
        "bound on the error of the sum",
        "test_codes.py::test_the_sum_of_sigma_delta_follows_that_of_the_signal",
        "",
        "sum within one threshold",
    ),
    (
        "bens_spiker",
        "[Schrauwen and Van Campenhout 2003](https://doi.org/10.1109/IJCNN.2003.1224019), a loop over times",
        "test_codes.py::test_bens_spiker_is_the_algorithm_of_the_publication",
        "the threshold is a share of the sum of the filter",
        "0 spikes differ",
    ),
)

ROWS = (*CORES, *RULES, *MODELS, *EXPORTS, *ENCODERS)
