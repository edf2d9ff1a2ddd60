"""Place a network on the cores of a chip."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from types import MappingProxyType

from neurosim.errors import InputError
from neurosim.hardware.placement.circuit import Circuit
from neurosim.hardware.placement.cores import KINDS, LIMITS, Core, Kind, Load, Precision
from neurosim.hardware.placement.links import Thinned
from neurosim.hardware.placement.mesh import hops, most_targets
from neurosim.hardware.placement.partition import Cut, TooLarge, TooMany, orders, partition
from neurosim.hardware.placement.placement import MEMORY, Misfit, Part, Placed, Placement
from neurosim.hardware.placement.storage import in_bits
from neurosim.hardware.targets import Target, load_target
from neurosim.network.network import Network

# Most of a link's weights that a remedy proposes to keep; above that pruning saves nothing that matters.
_DENSEST = 90
_BITS = 8


def place(
    net: Network | Circuit,
    target: str | os.PathLike[str] | Target,
    *,
    weight_bits: int | None = None,
    delay_bits: int | None = None,
    tag_bits: int = 0,
    storage: Kind = "auto",
    chips: int = 1,
) -> Placement:
    """Place a network on the cores of a chip and say what binds and what does not fit.

    A core holds neurons of one population. Each population is cut into as few parts as the limits of a core allow, in
    the order of its neurons (for images also place by place, if that takes fewer); parts are numbered in the order of
    computation.

    Parameters
    ----------
    net : Network or Circuit
        What to place. Weights of exactly 0 are no synapses.
    target : name, path or Target
        A chip: a name of `target_names`, a TOML file of your own, or a loaded target. It must state `limits.cores`.
    weight_bits : int, optional
        Bits of a stored weight, one of those the chip offers. If left out: 8, or where the chip has no such weights
        the fewest above, or else its most.
    delay_bits : int, optional
        Bits of the delay that each synapse carries; as many as the longest delay of its edge needs if left out.
    tag_bits : int
        Bits of a synapse for learning on the chip.
    storage : {"auto", "dense", "sparse", "shared"}
        How synapses are kept; ``"auto"`` takes the cheapest for each edge and core. ``"shared"`` keeps a
        convolution's kernel once where the chip can, and is sparse elsewhere.
    chips : int
        Chips that may be used.

    Returns
    -------
    Placement
        ``print(placement)`` gives the table; `to_json` the rest, `neurosim.report.chip_map` the picture.

    Raises
    ------
    InputError
        When the target has no cores, or weights of so many bits are not among those it stores.
    FileError
        For an unknown or faulty target.
    ExportError
        When batch normalisation does not stand right behind weights; see `neurosim.network.fold`.

    Notes
    -----
    It is an estimate from the published limits, not the result of the vendor's compiler. Inputs come from outside the
    chip: they take input axons of the cores they reach.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.hardware.placement import place
    >>> net = ns.Sequential(
    ...     ns.Linear(784, 256), ns.LIF(dt=1e-3), ns.Linear(256, 10), ns.LIF(dt=1e-3), names=("hidden", "out")
    ... )
    >>> placement = place(net, "loihi1")
    >>> placement.fits, placement.cores, round(placement["hidden"].whole["synapse_memory_per_core"], 2)
    (True, 3, 1.72)
    """
    target = target if isinstance(target, Target) else load_target(target)
    if weight_bits is None:
        offered = _allowed_bits(target) or [_BITS]
        weight_bits = next((bits for bits in offered if bits >= _BITS), offered[-1])
    _check(target, weight_bits, delay_bits, tag_bits, storage, chips)
    each = int(target.limits["cores"].number)
    circuit = net if isinstance(net, Circuit) else Circuit.of(net)
    precision = Precision(weight_bits, tag_bits, delay_bits, storage)
    core = Core(target)
    cuts, refused = partition(circuit, core, precision)
    placed, first = _placed(circuit, core, precision, cuts)
    misfits = [_too_large(error, circuit, core, target) for error in refused]
    misfits += [Misfit(text.partition(":")[0], "", 0, 0, text.partition(": ")[2], ()) for text in circuit.unheld]
    misfits += _delays(circuit, target) + _fan_out(circuit, cuts, target)

    def cores(circuit: Circuit = circuit, bits: int = weight_bits) -> int | None:
        """Count the cores of a variant; None if it does not fit either."""
        try:
            variant = dataclasses.replace(precision, weight_bits=bits)
            cut, bad = partition(circuit, core, variant, chips * each, like=cuts)
        except TooMany:
            return None
        return None if bad else sum(len(c.stretches) for c in cut.values())

    misfits += _too_many(circuit, target, placed, chips, weight_bits, cores)
    return Placement(
        target=target,
        weight_bits=weight_bits,
        chips=chips,
        populations=tuple(placed),
        limits=MappingProxyType(core.limits),
        misfits=tuple(misfits),
        notes=_notes(target, core, placed),
        hops=MappingProxyType(hops(circuit, cuts, first, target)),  # type: ignore[arg-type]
    )


def _check(target: Target, weight_bits: int, delay_bits: int | None, tag_bits: int, storage: str, chips: int) -> None:
    if "cores" not in target.limits or not any(key in target.limits for key in LIMITS):
        raise InputError(
            f"{target.name} states no cores or no limit of a core ({target.path.name}): nothing can be placed on it. "
            "Take a chip such as loihi1; to a file of your own add limits.cores and limits such as neurons_per_core."
        )
    if storage not in KINDS:
        raise InputError(f"storage must be one of {', '.join(KINDS)}; got {storage!r}.")
    for name, value, low in (("weight_bits", weight_bits, 1), ("tag_bits", tag_bits, 0), ("chips", chips, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise InputError(f"{name} must be a whole number from {low}; got {value!r}.")
    if delay_bits is not None and (not isinstance(delay_bits, int) or delay_bits < 0):
        raise InputError(f"delay_bits must be a whole number from 0, or None; got {delay_bits!r}.")
    allowed = _allowed_bits(target)
    if allowed and weight_bits not in allowed:
        more = [bits for bits in allowed if bits > weight_bits]
        hint = f" {weight_bits}-bit weights are stored in {more[0]}." if more else " Quantise the weights first."
        raise InputError(
            f"{target.name} stores weights of {', '.join(map(str, allowed))} bits; got {weight_bits}.{hint}"
        )
    made = int(target.limits["chips"].number) if "chips" in target.limits else None
    if made is not None and chips > made:
        raise InputError(f"the largest system of {target.name} has {made} chips; got chips={chips}.")


def _allowed_bits(target: Target) -> list[int]:
    given = target.precision.get("weight_bits")
    if given is None:
        return []
    return sorted(int(b) for b in (given.value if isinstance(given.value, tuple) else (given.value,)))


def _placed(
    circuit: Circuit, core: Core, precision: Precision, cuts: dict[str, Cut]
) -> tuple[list[Placed], dict[str, int]]:
    placed, first, number = [], {}, 0
    for layer in circuit.layers:
        first[layer.name] = number
        parts = []
        if layer.name in cuts:
            load = cuts[layer.name].load
            for start, stop in cuts[layer.name].stretches:
                use = load.use(start, stop)
                parts.append(Part(number, load.order[start:stop], use.amounts, use.kinds))
                number += 1
            whole = load.use(0, layer.neurons).amounts
        else:
            whole = Load(core, circuit, layer, precision, orders(layer.shape)[0]).use(0, layer.neurons).amounts
        shares = {key: whole[key] / limit for key, limit in core.limits.items()}
        placed.append(Placed(layer.name, layer.shape, tuple(parts), MappingProxyType(shares)))
    return placed, first


def _too_large(error: TooLarge, circuit: Circuit, core: Core, target: Target) -> Misfit:
    links = circuit.into(error.layer)
    fan_in = sum(link.reach.fan_in(error.neuron) for link in links)
    limit = error.limits[0]
    allowed = core.limits[limit]
    if limit == "input_axons_per_core":
        percent = 100 * allowed // fan_in
        return Misfit(
            error.layer,
            limit,
            fan_in,
            allowed,
            f"a neuron hears {fan_in:,} others, and a core of {target.title} has {allowed:,} input axons.",
            (
                f"prune the synapses into {error.layer} to {percent} % or less of each neuron's",
                f"let relay populations of their own sum the inputs of {error.layer}, {-(-fan_in // allowed)} of them",
            ),
        )
    if limit in (*MEMORY, "synapses_per_core"):
        return Misfit(
            error.layer,
            limit,
            fan_in,
            allowed,
            f"the {fan_in:,} synapses of a single neuron take more than the {allowed:,} bits of a core.",
            (f"prune the synapses into {error.layer}", "store fewer bits a weight"),
        )
    return Misfit(
        error.layer, limit, 1, allowed, f"a single neuron is above {LIMITS[limit]} ({allowed:,}) of a core.", ()
    )


def _delays(circuit: Circuit, target: Target) -> list[Misfit]:
    if "delay_steps" not in target.limits:
        return []
    most = int(target.limits["delay_steps"].number)
    return [
        Misfit(
            link.name,
            "delay_steps",
            link.delay,
            most,
            f"a delay of {link.delay} steps, and {target.title} has at most {most}.",
            (
                f"a step dt {link.delay / most:.2g} times as long or more",
                f"relay neurons on the way, one for every {most + 1} steps",
            ),
        )
        for link in circuit.links
        if link.delay > most
    ]


def _fan_out(circuit: Circuit, cuts: dict[str, Cut], target: Target) -> list[Misfit]:
    if "targets_per_neuron" not in target.limits:
        return []
    allowed = int(target.limits["targets_per_neuron"].number)
    found = []
    for name in cuts:
        most = most_targets(circuit, cuts, name, cuts[name].load.layer.neurons)
        if most > allowed:
            copies = -(-most // allowed)
            found.append(
                Misfit(
                    name,
                    "targets_per_neuron",
                    most,
                    allowed,
                    f"a neuron sends to {most} cores, and one of {target.title} can send to {allowed}.",
                    (f"{copies} copies of {name}, each for {allowed} of the cores",),
                )
            )
    return found


def _too_many(
    circuit: Circuit,
    target: Target,
    placed: list[Placed],
    chips: int,
    weight_bits: int,
    cores: Callable[..., int | None],
) -> list[Misfit]:
    found = []
    each = int(target.limits["cores"].number)
    used = sum(len(one.parts) for one in placed)
    if used > each * chips:
        found.append(
            Misfit(
                "network",
                "cores",
                used,
                each * chips,
                f"{used} cores are needed; {_chips(chips)} of {target.title} {'has' if chips == 1 else 'have'} "
                f"{each * chips}.",
                _remedies(circuit, target, used, weight_bits, cores),
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
            found.append(
                Misfit(
                    "network",
                    key,
                    total,
                    allowed,
                    f"{what}, and {_chips(chips)} of {target.title} can hold {allowed:,}.",
                    (_chips(needed),),
                )
            )
    return found


def _remedies(
    circuit: Circuit, target: Target, used: int, weight_bits: int, cores: Callable[..., int | None]
) -> tuple[str, ...]:
    """Try what would bring the cores down to those allowed."""
    remedies = []
    fewer = [bits for bits in _allowed_bits(target) or range(1, weight_bits) if bits < weight_bits]
    for bits in reversed(fewer):
        count = cores(bits=bits)
        if count is not None:
            remedies.append(f"weights of {bits} bit{'s' * (bits > 1)} ({count} cores)")
            break
    low, high, found = 0, _DENSEST + 1, 0
    while high - low > 1:
        percent = (low + high) // 2
        thin = dataclasses.replace(
            circuit,
            links=tuple(dataclasses.replace(link, reach=Thinned(link.reach, percent / 100)) for link in circuit.links),
        )
        count = cores(circuit=thin)
        if count is not None:
            low, found = percent, count
        else:
            high = percent
    if found:
        remedies.append(f"{low} % of the weights kept, stored sparse ({found} cores)")
    each = int(target.limits["cores"].number)
    remedies.append(_chips(-(-used // each)))
    return tuple(remedies)


def _chips(number: int) -> str:
    return f"{number} chip{'s' * (number > 1)}"


def _notes(target: Target, core: Core, placed: list[Placed]) -> tuple[str, ...]:
    notes = ["An estimate from published limits, not the result of a compiler; a core holds neurons of one population."]
    guessed = [LIMITS.get(key, key) for key, item in target.limits.items() if item.estimate]
    if guessed:
        notes.append(f"Limits of {target.title} that no public table states: {', '.join(guessed)}.")
    unknown = [LIMITS[key] for key in ("input_axons_per_core", "output_axons_per_core") if key not in core.limits]
    if unknown:
        notes.append(f"Not checked, since no limit is public: {', '.join(unknown)}.")
    return tuple(notes)
