"""Placement of a network on the cores of a chip."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from types import MappingProxyType

from neurosim.errors import InputError
from neurosim.hardware.placement.cores import KINDS, CoreLimits, Kind, Load, SynapseFormat
from neurosim.hardware.placement.keys import LIMITS
from neurosim.hardware.placement.links import Thinned
from neurosim.hardware.placement.mesh import hops, most_targets
from neurosim.hardware.placement.partition import Cut, TooLarge, TooMany, orders, partition
from neurosim.hardware.placement.placement import MEMORY, Misfit, Part, Placed, Placement
from neurosim.hardware.placement.storage import in_bits
from neurosim.hardware.placement.workload import Workload
from neurosim.hardware.targets import Target, load_target
from neurosim.network.network import Network

# Largest share of weights, in percent, that a remedy proposes to keep; above it pruning saves too little.
_DENSEST = 90
_BITS = 8


def place(
    net: Network | Workload,
    target: str | os.PathLike[str] | Target,
    *,
    weight_bits: int | None = None,
    delay_bits: int | None = None,
    tag_bits: int = 0,
    storage: Kind = "auto",
    chips: int = 1,
) -> Placement:
    """Place a network on the cores of a chip and report what is limiting and what does not fit.

    A core holds neurons of one population. Each population is cut into as few parts as the limits of a core allow, in
    the order of its neurons (for images also place by place, if that needs fewer); parts are numbered in the order of
    computation.

    Parameters
    ----------
    net : Network or Workload
        Weights of exactly 0 are no synapses.
    target : name, path or Target
        A chip: a name of `target_names`, a TOML file of your own, or a loaded target. It must state `limits.cores`.
    weight_bits : int, optional
        Bits of a weight; it is stored in the fewest bits from there on that the chip offers (7 in 8 on Loihi 1). If
        left out 8, or else the most that the chip offers.
    delay_bits : int, optional
        Bits of the delay of each synapse; those of the longest delay of its edge if left out.
    tag_bits : int
        Bits of a synapse for learning on the chip.
    storage : {"auto", "dense", "sparse", "shared"}
        How synapses are stored; ``"auto"`` takes the smallest for each edge and core. ``"shared"`` stores the kernel of
        a convolution once where the chip can, and is sparse elsewhere.
    chips : int
        Chips that may be used.

    Returns
    -------
    Placement
        ``print(placement)`` gives the table; `to_json` the rest, `neurosim.report.chip_map` the picture.

    Raises
    ------
    InputError
        When the target has no cores, or does not store weights of these bits; for a synapse that is not linear.
    FileError
        For an unknown or faulty target.
    ExportError
        When batch normalisation is not right behind weights; see `neurosim.network.fold`.

    Notes
    -----
    This is an estimate from the published limits, not the result of the vendor's compiler. Inputs are outside the chip:
    they use input axons of the cores they reach.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.hardware.placement import place
    >>> net = ns.Sequential(
    ...     ns.Linear(784, 256), ns.LIF(dt=1e-3), ns.Linear(256, 10), ns.LIF(dt=1e-3), names=("hidden", "out")
    ... )
    >>> placement = place(net, "loihi1")
    >>> placement.fits, placement.cores, round(placement["hidden"].as_one_core["synapse_memory_per_core"], 2)
    (True, 3, 1.72)
    """
    target = target if isinstance(target, Target) else load_target(target)
    offered = _allowed_bits(target) or [_BITS]
    if weight_bits is None:
        weight_bits = next((bits for bits in offered if bits >= _BITS), offered[-1])
    _check(target, weight_bits, delay_bits, tag_bits, storage, chips)
    weight_bits = next((bits for bits in _allowed_bits(target) if bits >= weight_bits), weight_bits)
    each = int(target.limits["cores"].number)
    workload = net if isinstance(net, Workload) else Workload.of(net)
    synapse_format = SynapseFormat(weight_bits, tag_bits, delay_bits, storage)
    core = CoreLimits(target)
    cuts, refused = partition(workload, core, synapse_format)
    placed, first = _placed(workload, core, synapse_format, cuts)
    misfits = [_too_large(error, workload, core, target) for error in refused]
    misfits += [Misfit(text.partition(":")[0], "", 0, 0, text.partition(": ")[2], ()) for text in workload.unheld]
    misfits += _delays(workload, target) + _fan_out(workload, cuts, target)

    def cores(workload: Workload = workload, bits: int = weight_bits) -> int | None:
        """Count the cores of a variant; None if it does not fit."""
        try:
            variant = dataclasses.replace(synapse_format, weight_bits=bits)
            cut, bad = partition(workload, core, variant, chips * each, like=cuts)
        except TooMany:
            return None
        return None if bad else sum(len(c.ranges) for c in cut.values())

    misfits += _too_many(workload, target, placed, chips, weight_bits, cores)
    return Placement(
        target=target,
        weight_bits=weight_bits,
        chips=chips,
        populations=tuple(placed),
        limits=MappingProxyType(core.limits),
        misfits=tuple(misfits),
        notes=_notes(target, core, placed),
        hops=MappingProxyType(hops(workload, cuts, first, target)),  # type: ignore[arg-type]
    )


def _check(target: Target, weight_bits: int, delay_bits: int | None, tag_bits: int, storage: str, chips: int) -> None:
    if "cores" not in target.limits or not any(key in target.limits for key in LIMITS):
        raise InputError(
            f"{target.name} states no cores or no limit of a core ({target.path.name}); nothing can be placed on it. "
            "Take a chip such as loihi1; to a file of your own add limits.cores and limits such as neurons_per_core. A "
            "chip of one group of hidden neurons, such as xylo_audio3, takes place_groups()."
        )
    if storage not in KINDS:
        raise InputError(f"storage must be one of {', '.join(KINDS)}; got {storage!r}.")
    for name, value, low in (("weight_bits", weight_bits, 1), ("tag_bits", tag_bits, 0), ("chips", chips, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise InputError(f"{name} must be an integer from {low}; got {value!r}.")
    if delay_bits is not None and (not isinstance(delay_bits, int) or delay_bits < 0):
        raise InputError(f"delay_bits must be an integer from 0, or None; got {delay_bits!r}.")
    allowed = _allowed_bits(target)
    if allowed and weight_bits > allowed[-1]:
        raise InputError(
            f"{target.name} stores weights of {', '.join(map(str, allowed))} bits; got {weight_bits}. Quantise the "
            f"weights to {allowed[-1]} bits."
        )
    largest = int(target.limits["chips"].number) if "chips" in target.limits else None
    if largest is not None and chips > largest:
        raise InputError(f"the largest system of {target.name} has {largest} chips; got chips={chips}.")


def _allowed_bits(target: Target) -> list[int]:
    given = target.precision.get("weight_bits")
    if given is None:
        return []
    return sorted(int(b) for b in (given.value if isinstance(given.value, tuple) else (given.value,)))


def _placed(
    workload: Workload, core: CoreLimits, synapse_format: SynapseFormat, cuts: dict[str, Cut]
) -> tuple[list[Placed], dict[str, int]]:
    placed, first, number = [], {}, 0
    for group in workload.groups:
        first[group.name] = number
        parts = []
        if group.name in cuts:
            load = cuts[group.name].load
            for start, stop in cuts[group.name].ranges:
                use = load.use(start, stop)
                parts.append(Part(number, load.order[start:stop], use.amounts, use.kinds))
                number += 1
            total = load.use(0, group.neurons).amounts
        else:
            total = Load(core, workload, group, synapse_format, orders(group.shape)[0]).use(0, group.neurons).amounts
        shares = {key: total[key] / limit for key, limit in core.limits.items()}
        placed.append(Placed(group.name, group.shape, tuple(parts), MappingProxyType(shares)))
    return placed, first


def _too_large(error: TooLarge, workload: Workload, core: CoreLimits, target: Target) -> Misfit:
    links = workload.into(error.group)
    fan_in = sum(link.reach.fan_in(error.neuron) for link in links)
    limit = error.limits[0]
    allowed = core.limits[limit]
    if limit == "input_axons_per_core":
        percent = 100 * allowed // fan_in
        return Misfit(
            error.group,
            limit,
            fan_in,
            allowed,
            f"a fan-in of {fan_in:,} exceeds the {allowed:,} input axons of a core of {target.title}.",
            (
                f"prune the synapses into {error.group} to {percent} % or less of each neuron's",
                f"add {-(-fan_in // allowed)} relay populations that each sum a part of the inputs of {error.group}",
            ),
        )
    if limit in (*MEMORY, "synapses_per_core"):
        return Misfit(
            error.group,
            limit,
            fan_in,
            allowed,
            f"the {fan_in:,} synapses of a single neuron exceed the {allowed:,} bits of a core.",
            (f"prune the synapses into {error.group}", "store fewer bits per weight"),
        )
    return Misfit(
        error.group, limit, 1, allowed, f"a single neuron exceeds the {LIMITS[limit]} ({allowed:,}) of a core.", ()
    )


def _delays(workload: Workload, target: Target) -> list[Misfit]:
    if "delay_steps" not in target.limits:
        return []
    most = int(target.limits["delay_steps"].number)
    return [
        Misfit(
            link.name,
            "delay_steps",
            link.delay,
            most,
            f"its delay of {link.delay} steps exceeds the {most} of {target.title}.",
            (
                f"a step dt at least {link.delay / most:.2g} times as long",
                f"relay neurons on the path, one for every {most + 1} steps",
            ),
        )
        for link in workload.links
        if link.delay > most
    ]


def _fan_out(workload: Workload, cuts: dict[str, Cut], target: Target) -> list[Misfit]:
    if "targets_per_neuron" not in target.limits:
        return []
    allowed = int(target.limits["targets_per_neuron"].number)
    misfits = []
    for name in cuts:
        most = most_targets(workload, cuts, name, cuts[name].load.group.neurons)
        if most > allowed:
            copies = -(-most // allowed)
            misfits.append(
                Misfit(
                    name,
                    "targets_per_neuron",
                    most,
                    allowed,
                    f"a neuron sends to {most} cores; on {target.title} it can send to {allowed}.",
                    (f"{copies} copies of {name}, each for {allowed} of the cores",),
                )
            )
    return misfits


def _too_many(
    workload: Workload,
    target: Target,
    placed: list[Placed],
    chips: int,
    weight_bits: int,
    cores: Callable[..., int | None],
) -> list[Misfit]:
    misfits = []
    each = int(target.limits["cores"].number)
    used = sum(len(one.parts) for one in placed)
    if used > each * chips:
        misfits.append(
            Misfit(
                "network",
                "cores",
                used,
                each * chips,
                f"{used} cores are needed; {_chips(chips)} of {target.title} {'has' if chips == 1 else 'have'} "
                f"{each * chips}.",
                _remedies(workload, target, used, weight_bits, cores),
            )
        )
    totals = {
        "neurons": sum(one.neurons for one in placed),
        "synapses": sum(part.use["synapses_per_core"] for one in placed for part in one.parts),
        "synapse_memory": sum(part.use["synapse_memory_per_core"] for one in placed for part in one.parts),
    }
    for key, total in totals.items():
        if key in target.limits and total > (allowed := chips * in_bits(target.limits[key])):
            needed = -(-total // in_bits(target.limits[key]))
            what = f"{total:,} {'bits of synapses' if key == 'synapse_memory' else key}"
            misfits.append(
                Misfit(
                    "network",
                    key,
                    total,
                    allowed,
                    f"{what} exceed the {allowed:,} of {_chips(chips)} of {target.title}.",
                    (_chips(needed),),
                )
            )
    return misfits


def _remedies(
    workload: Workload, target: Target, used: int, weight_bits: int, cores: Callable[..., int | None]
) -> tuple[str, ...]:
    """Return variants that need no more cores than allowed."""
    remedies = []
    fewer = [bits for bits in _allowed_bits(target) or range(1, weight_bits) if bits < weight_bits]
    for bits in reversed(fewer):
        count = cores(bits=bits)
        if count is not None:
            remedies.append(f"weights of {bits} bit{'s' * (bits > 1)} ({count} cores)")
            break
    low, high, fitting = 0, _DENSEST + 1, 0
    while high - low > 1:
        percent = (low + high) // 2
        thin = dataclasses.replace(
            workload,
            links=tuple(dataclasses.replace(link, reach=Thinned(link.reach, percent / 100)) for link in workload.links),
        )
        count = cores(workload=thin)
        if count is not None:
            low, fitting = percent, count
        else:
            high = percent
    if fitting:
        remedies.append(f"{low} % of the weights kept, stored sparse ({fitting} cores)")
    each = int(target.limits["cores"].number)
    remedies.append(_chips(-(-used // each)))
    return tuple(remedies)


def _chips(number: int) -> str:
    return f"{number} chip{'s' * (number > 1)}"


def _notes(target: Target, core: CoreLimits, placed: list[Placed]) -> tuple[str, ...]:
    notes = ["An estimate from published limits, not the result of a compiler; a core holds neurons of one population."]
    guessed = [LIMITS.get(key, key) for key, item in target.limits.items() if item.estimate]
    if guessed:
        notes.append(f"Limits of {target.title} that no public table states: {', '.join(guessed)}.")
    unknown = [LIMITS[key] for key in ("input_axons_per_core", "output_axons_per_core") if key not in core.limits]
    if unknown:
        notes.append(f"Not checked, because no limit is public: {', '.join(unknown)}.")
    return tuple(notes)
