"""Rules, losses and datasets on the command line are those of the library, and a user's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import neurosim.learning
from neurosim.cli.choices import LOSSES, RULES, options_of
from neurosim.cli.options import complete_dataset, complete_loss, complete_rule, complete_target
from neurosim.errors import FileError, InputError
from neurosim.learning import BPTT, OTTT, SLTT, CrossEntropy, RateCrossEntropy, TargetRates
from tests.cli.test_cli import QUICK, fail, run


def test_every_rule_and_loss_of_the_library_has_a_name() -> None:
    rules, losses = RULES.names(), LOSSES.names()
    assert {"bptt", "sltt", "ottt", "e-prop", "event-prop", "decolle", "forward-forward", "hlop"} == {*rules}
    assert {each.__name__ for each in (*rules.values(), *losses.values())} <= {*neurosim.learning.__all__}
    assert losses["rate-cross-entropy"] is RateCrossEntropy and "loss" not in losses


@pytest.mark.parametrize("text", ["event-prop", "eventprop", "EventProp", "event_prop", "EVENTPROP"])
def test_case_and_hyphens_do_not_matter(text: str) -> None:
    assert RULES.class_of(text).__name__ == "EventProp"


def test_what_a_shell_completes_are_the_names_of_the_library() -> None:
    assert {*complete_rule("")} == {*RULES.names()} and {*complete_loss("")} == {*LOSSES.names()}
    assert complete_rule("sl") == ["sltt"]
    assert complete_dataset("mn") == ["mnist"] and "loihi1" in complete_target("loihi")


def test_options_become_arguments() -> None:
    assert RULES.value("sltt", options_of("rule", ["k=4", "chunk=2"])) == SLTT(k=4, chunk=2)
    assert LOSSES.value("target-rates", {"correct": 0.5}) == TargetRates(correct=0.5)
    assert options_of("rule", ["a=1e-3", "b=True", "c=None", "d=some text"]) == {
        "a": 1e-3,
        "b": True,
        "c": None,
        "d": "some text",
    }


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("nothing", {}, r"rule must be one of bptt, .*, or FILE.py:FUNCTION; got 'nothing'"),
        ("sltt", {"steps": 3}, r"rule sltt has no option 'steps'; it has k, chunk"),
        ("hlop", {}, r"rule hlop needs rule and banks.*give --rule FILE.py:FUNCTION"),
        ("sltt", {"k": 0}, "SLTT"),
    ],
)
def test_a_wrong_choice_is_refused(text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RULES.value(text, options)


@pytest.mark.parametrize("pair", ["k", "=4", "1k=4"])
def test_a_wrong_option_is_refused(pair: str) -> None:
    with pytest.raises(InputError, match=r"--rule-option must be NAME=VALUE"):
        options_of("rule", [pair])


def test_a_function_in_a_file_makes_the_rule(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from neurosim.learning import HLOP, SLTT, CrossEntropy, LateralBanks\n"
        "def rule(net, rate=0.1): return HLOP(SLTT(), LateralBanks(net, rate=rate))\n"
        "def loss(): return CrossEntropy()\n"
        "def wrong(net): return net\n"
    )
    options = ["--rule", f"{file}:rule", "--rule-option", "rate=0.05", "--loss", f"{file}:loss"]
    run("train", tmp_path / "run", *QUICK, *options)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["rule"].startswith("HLOP(rule=SLTT(")
    run("simulate", tmp_path / "run", "--out", tmp_path / "r.h5", "--samples", "1")
    with pytest.raises(InputError, match="must return a Rule; got str"):
        RULES.value(f"{file}:wrong", {}, "net")
    with pytest.raises(InputError, match="has no function 'nothing'"):
        RULES.value(f"{file}:nothing", {})
    with pytest.raises(FileError, match="a file that exists"):
        RULES.value(f"{tmp_path}/none.py:make", {})


def test_another_rule_trains(tmp_path: Path) -> None:
    run("train", tmp_path / "run", *QUICK, "--rule", "ottt", "--loss", "cross-entropy")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["rule"] == "OTTT(chunk=16)"


def test_a_rule_names_the_network_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*arguments: str) -> str:
        return fail(capsys, monkeypatch, "train", tmp_path / "x", *QUICK, *arguments)

    assert "'hidden' must be CubaLIF; it is lif" in error("--rule", "event-prop", "--loss", "cross-entropy")
    assert "DECOLLE needs LocalReadouts" in error("--rule", "decolle", "--loss", "cross-entropy")


def test_the_defaults_are_values_of_the_library() -> None:
    from neurosim.cli.settings import Settings

    config = Settings()
    assert RULES.value(config.rule, {}) == BPTT()
    assert LOSSES.value(config.loss, {}) == RateCrossEntropy()
    assert LOSSES.value("cross-entropy", {}) == CrossEntropy()
    assert RULES.value("ottt", {"chunk": 4}) == OTTT(chunk=4)


def write_card(folder: Path) -> Path:
    """Write a card and its four idx files; return the card."""
    generator = np.random.default_rng(0)
    files = ""
    for part, number in (("train", 30), ("test", 10)):
        for holds, values in (
            ("images", generator.integers(0, 256, (number, 4, 4))),
            ("labels", generator.integers(0, 3, number)),
        ):
            header = np.array([0x0800 + values.ndim, *values.shape], dtype=">i4").tobytes()
            (folder / f"{part}-{holds}").write_bytes(header + values.astype(np.uint8).tobytes())
            files += f'[[files]]\nname = "{part}-{holds}"\npart = "{part}"\nholds = "{holds}"\n'
    card = folder / "noise.toml"
    card.write_text(
        'name = "noise"\ntitle = "Noise"\nsource = "a"\ndownload = "a"\nlicence = "a"\ncitation = "a"\n'
        'format = "idx"\nshape = [1, 4, 4]\nscale = 255\nclasses = ["a", "b", "c"]\nsplit = "a"\n'
        f"[counts]\ntrain = 30\ntest = 10\n{files}"
    )
    return card


def test_a_card_of_the_users_trains(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    run("train", tmp_path / "run", *QUICK, "--dataset", card, "--data-root", tmp_path)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test_samples"] == 10 and metrics["parameters"] == 16 * 16 + 16 * 3


def test_a_file_that_is_no_card_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.toml").write_text("name = 1")
    assert "bad.toml" in fail(capsys, monkeypatch, "train", tmp_path / "x", "--dataset", tmp_path / "bad.toml")
