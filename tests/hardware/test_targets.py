"""Targets: every number has a source, and a faulty file is refused with its name and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurosim.errors import FileError, InputError
from neurosim.files.bundled import data_files
from neurosim.files.tables import read_toml
from neurosim.hardware import Quantity, load_target, target_names

GOOD = """
name = "mine"
title = "My chip"
kind = "chip"
model = "per_operation"
summary = "A chip of my own."
spikes = "binary"
excluded = ["static power"]

[limits.cores]
value = 4
unit = "1"
source = "my data sheet"

[energy.synaptic_operation]
value = 5
unit = "pJ"
source = "my data sheet"
note = "typical"
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(FileError) as caught:
        load_target(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", target_names())
def test_every_bundled_number_has_a_source(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    for section in (target.limits, target.mesh, target.precision, target.parameters, target.energy, target.time):
        for key, quantity in section.items():
            assert len(quantity.source) > 8, key
    assert bool(target.energy) != bool(target.energy_not_public)
    assert not (target.time and target.time_not_public)
    assert target.kind == "arithmetic" or target.kind == "processor" or target.time or target.time_not_public


def test_the_bundled_targets_are_there() -> None:
    assert {
        "loihi1",
        "loihi1_board",
        "loihi2",
        "truenorth",
        "spinnaker",
        "spinnaker2",
        "horowitz45",
        "lemaire2022",
    } <= set(target_names())


@pytest.mark.parametrize(
    ("name", "key", "joules"),
    [
        ("loihi1", "synaptic_operation", 23.6e-12),
        ("loihi1", "neuron_update", 81e-12),
        ("loihi1", "message", 1.7e-12),
        ("loihi1_board", "synaptic_operation", 35.5e-12),
        ("loihi1_board", "neuron_update", 72.8e-12),
        ("loihi1_board", "spike", 69.3e-12),
        ("loihi1_board", "message", 111e-12),
        ("truenorth", "synaptic_operation", 26e-12),
        ("spinnaker", "synaptic_operation", 13.3e-9),
        ("spinnaker", "neuron_update", 26e-9),
        ("spinnaker2", "synaptic_operation", 450e-12),
        ("spinnaker2", "neuron_update", 2.19e-9),
        ("horowitz45", "multiply_accumulate", 4.6e-12),
        ("horowitz45", "accumulate", 0.9e-12),
        ("horowitz45_int8", "multiply_accumulate", 0.23e-12),
        ("horowitz45_int8", "accumulate", 0.03e-12),
        ("lemaire2022", "add", 0.1e-12),
        ("lemaire2022", "multiply", 3.1e-12),
        ("lemaire2022", "memory_access", 13.2e-12),
        ("lemaire2022", "memory_access_per_bit", 1.09e-17),
        ("cpu", "multiply_accumulate", 8.6e-9),
        ("gpu", "multiply_accumulate", 0.3e-9),
    ],
)
def test_the_figures_are_the_published_ones(name: str, key: str, joules: float) -> None:
    assert load_target(name).energy[key].number == pytest.approx(joules, rel=1e-12)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cores", 128),
        ("neurons_per_core", 1024),
        ("input_axons_per_core", 4096),
        ("output_axons_per_core", 4096),
        ("synapse_memory_per_core", 2**20),
    ],
)
def test_the_limits_of_loihi_are_those_of_its_own_compiler(key: str, value: int) -> None:
    assert load_target("loihi1").limits[key].number == value


def test_loihi2_says_why_it_has_no_energy() -> None:
    target = load_target("loihi2")
    assert target.model is None and not target.energy
    assert "published no energy per operation" in target.energy_not_public
    assert target.limits["memory_per_core"].estimate and not target.limits["cores"].estimate


def test_figures_that_no_source_confirms_are_nowhere() -> None:
    for path in data_files("hardware_targets"):
        table = read_toml(path)
        values = [entry["value"] for entry in table.get("energy", {}).values()]
        assert 120 not in values, f"{path.name}: the STDP figure of Loihi is not confirmed"
        assert 100 not in values, f"{path.name}: the 1 MB SRAM figure is not confirmed"
        assert not any("stdp" in key or "learning" in key for key in table.get("energy", {})), path.name


def test_a_file_of_ones_own_works_like_a_bundled_one(write) -> None:
    target = load_target(write(GOOD))
    assert target.energy["synaptic_operation"] == Quantity(5e-12, "J", "my data sheet", "typical")
    assert target.limits["cores"].number == 4
    assert load_target(str(write(GOOD))) == target


def test_a_target_cannot_be_changed() -> None:
    target = load_target("loihi1")
    with pytest.raises(AttributeError):
        target.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        target.energy["spike"] = target.energy["message"]  # type: ignore[index]


def test_a_list_is_not_one_number() -> None:
    bits = load_target("loihi1").precision["weight_bits"]
    assert bits.value == (1, 2, 3, 4, 5, 6, 8)
    with pytest.raises(InputError, match=r"holds the list .* Use `.value`"):
        _ = bits.number


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(FileError, match=r"'loihi9' .*loihi1"):
        load_target("loihi9")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot read" in refused(tmp_path / "nothing.toml")


def test_text_that_is_not_toml_is_named(write) -> None:
    assert "is not TOML" in refused(write("name = ["))


@pytest.mark.parametrize("depth", [100, 100_000])
def test_text_that_nests_without_end_is_refused(write, depth: int) -> None:
    message = refused(write(GOOD + f"x = {'[' * depth}{']' * depth}"))
    assert "is not TOML" in message or "unknown key" in message


def test_a_file_too_large_for_a_target_is_not_read(write) -> None:
    assert "bytes long; 1,048,576 are allowed" in refused(write(GOOD + "#" * 2**20))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "my data sheet"\nnote', "note", "energy.synaptic_operation has no source"),
        ('source = "my data sheet"\nnote', 'source = " "\nnote', "energy.synaptic_operation has no source"),
        ('unit = "pJ"', 'unit = "ms"', "energy.synaptic_operation has the unit 'ms'. Allowed here: J, mJ"),
        ('unit = "pJ"', 'unit = "pJ/bit"', "energy.synaptic_operation has a wrong unit. Allowed here: J, mJ"),
        ('unit = "pJ"\n', "", "energy.synaptic_operation has the unit None"),
        ("value = 5", "value = -5", "energy.synaptic_operation.value is -5e-12 J; an energy cannot be negative"),
        ("value = 5", "value = nan", "energy.synaptic_operation.value must be a finite number"),
        ("value = 5", "value = true", "energy.synaptic_operation.value must be a finite number"),
        ("value = 5", 'value = "5"', "energy.synaptic_operation.value must be a finite number"),
        ("value = 5", "value = [5, 6]", "energy.synaptic_operation.value must be one number"),
        ("value = 5", "value = []", "energy.synaptic_operation.value must be a finite number"),
        ("value = 4", "value = 4\nmargin = 1", "limits.cores has the unknown key 'margin'"),
        ('note = "typical"', "note = 3", "energy.synaptic_operation.note must be a text"),
        ('note = "typical"', 'estimate = "yes"', "energy.synaptic_operation.estimate must be true or false"),
        ("[limits.cores]", "[limits.corse]", "unknown key limits.corse. Allowed: chips, compartment"),
        ('name = "mine"', 'name = "mine"\nprice = 3', "unknown key 'price'. Allowed: energy, energy_not_public"),
        ('title = "My chip"\n', "", "key 'title' must be a text that is not empty, found None"),
        ('kind = "chip"', 'kind = "brain"', "key 'kind' is 'brain'. Allowed: chip, arithmetic, processor"),
        ('model = "per_operation"', "model = 3", "key 'model' must be a text that is not empty, found 3"),
        ('excluded = ["static power"]\n', "", "key 'excluded' is missing: list what the energies leave out"),
        ('excluded = ["static power"]', "excluded = [1]", "key 'excluded' must be a list of texts"),
        ('name = "mine"', 'name = "mine"\nenergy_not_public = "secret"', "either the table 'energy' or the reason"),
        ('name = "mine"', 'name = "mine"\nprecision = 8', "key 'precision' must be a table, found 8"),
        ("value = 4", "value = 4.5", "limits.cores.value must be one integer from 1 to 2**53, found 4.5"),
        ("value = 4", "value = 0", "limits.cores.value must be one integer from 1 to 2**53, found 0"),
        ("value = 4", "value = 1e30", "limits.cores.value must be one integer from 1 to 2**53"),
        ("value = 4", "value = [4, 5]", "limits.cores.value must be one integer from 1"),
        ("[limits.cores]", "[storage.index_bits]", "storage.index_bits.value must be the fewest and the most bits"),
        ("[limits.cores]", "[storage.blocks]", "unknown key storage.blocks. Allowed: block_header, block_synapses"),
        ("[limits.cores]", "[mesh.rows]", "unknown key mesh.rows. Allowed: barrier_tiles, columns"),
    ],
)
def test_a_faulty_file_is_refused_with_its_name_and_key(write, old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in refused(write(GOOD.replace(old, new)))


def test_a_bare_number_is_refused(write) -> None:
    assert "limits.neurons is the bare value 7" in refused(
        write(GOOD.replace("[limits.cores]", "[limits]\nneurons = 7\n[limits.cores]"))
    )


def test_a_file_without_energy_must_say_why(write) -> None:
    head = GOOD[: GOOD.index("[energy")]
    assert "one of them is missing" in refused(write(head))
    reason = head.replace('model = "per_operation"', 'energy_not_public = "the vendor keeps it"')
    assert load_target(write(reason)).energy_not_public == "the vendor keeps it"
    both = head.replace("spikes", 'energy_not_public = "the vendor keeps it"\nspikes')
    assert "'model' names an energy model" in refused(write(both))


def test_a_parameter_of_a_model_must_be_positive(write, root: Path) -> None:
    text = (root / "hardware_targets" / "lemaire2022.toml").read_text(encoding="utf-8")
    assert "parameters.word_bits.value must be one positive number" in refused(
        write(text.replace("value = 32", "value = 0"))
    )
