from __future__ import annotations

import random
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset

import neurosim as ns
from neurosim.errors import ActivityWarning, FileError, InputError
from neurosim.learning import (
    BPTT,
    SLTT,
    CrossEntropy,
    History,
    MaxMembrane,
    Rule,
    accuracy,
    evaluate,
    fit,
    load_checkpoint,
    save_checkpoint,
)
from neurosim.learning.training.precision import Precision

DT = 1e-3
Batch = tuple[Tensor, Tensor]


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    net = ns.Sequential(ns.Linear(8, 12), ns.LIF(tau_mem=5e-3, dt=DT), ns.Linear(12, 3), ns.LI(tau_mem=5e-3, dt=DT))
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.3, 1.0)
    return net


def batches(number: int = 4, size: int = 6, seed: int = 0) -> list[Batch]:
    """Three classes that differ in which inputs fire often."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(number):
        y = torch.randint(3, (size,), generator=generator)
        rate = 0.15 + 0.7 * (torch.arange(8) % 3 == y[:, None]).float()
        made.append(((torch.rand(7, size, 8, generator=generator) < rate).float(), y))
    return made


class Samples(Dataset[Batch]):
    """The same samples one by one, with noise drawn from numpy, Python and torch at each access."""

    def __init__(self) -> None:
        self.batches = batches()

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Batch:
        x, y = self.batches[index // 6]
        noise = 0.05 * float(np.random.rand()) + 0.05 * random.random() + 0.05 * torch.rand(8)
        return x[:, index % 6] + noise, y[index % 6]


def time_first(samples: list[Batch]) -> Batch:
    return torch.stack([x for x, _ in samples], 1), torch.stack([y for _, y in samples])


class Dropped(nn.Module):
    """A network that drops inputs at random in training."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor, state: Any = None, *, through_time: bool = True) -> Any:
        return self.net(nn.functional.dropout(x, 0.2, self.training), state, through_time=through_time)


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(s, t) for s, t in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def without_seconds(history: History) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def quiet(*args: Any, **kwargs: Any) -> History:
    return fit(*args, progress=False, **kwargs)


@pytest.mark.parametrize("rule", [BPTT(), SLTT(), SLTT(k=3)], ids=repr)
def test_it_learns(rule: Rule) -> None:
    net = network()
    history = quiet(net, batches(8), rule=rule, epochs=12, optimizer=torch.optim.Adam(net.parameters(), 0.01))
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > max(0.8, history["accuracy"][0])
    assert history["epoch"] == list(range(1, 13)) and not history.stopped_early
    assert evaluate(net, batches(8, seed=1))["accuracy"] > 0.8


def test_the_default_optimizer_is_adam_at_one_thousandth() -> None:
    ours, theirs = network(), network()
    quiet(ours, batches(), epochs=2)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    for x, y in batches() * 2:
        optimizer.zero_grad()
        CrossEntropy()(theirs(x)[0], y).backward()
        optimizer.step()
    assert equal(ours, theirs) and not equal(ours, network())


def step_lr(optimizer: torch.optim.Optimizer) -> Any:
    return lr_scheduler.StepLR(optimizer, 1, 0.5)


def plateau(optimizer: torch.optim.Optimizer) -> Any:
    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.5)


def shuffled(generator: torch.Generator | None = None) -> Any:
    return DataLoader(Samples(), 5, shuffle=True, collate_fn=time_first, generator=generator)


@pytest.mark.parametrize(
    ("rule", "data", "scheduler"),
    [
        (BPTT(), lambda: batches(), step_lr),
        (SLTT(), shuffled, plateau),
        (SLTT(k=2), shuffled, step_lr),
        (SLTT(k=2), lambda: shuffled(torch.Generator().manual_seed(4)), None),
    ],
    ids=["bptt", "sltt", "sltt-2", "own generator"],
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    tmp_path: Path, rule: Rule, data: Callable[[], Any], scheduler: Callable[[Any], Any] | None
) -> None:
    def run(epochs: int, folder: str, resume: bool = False) -> tuple[nn.Module, History, Any]:
        net = Dropped()
        optimizer = torch.optim.AdamW(net.parameters(), 0.01, amsgrad=True)
        made = None if scheduler is None else scheduler(optimizer)
        history = quiet(
            net,
            data(),
            rule=rule,
            optimizer=optimizer,
            scheduler=made,
            epochs=epochs,
            validate=shuffled(),
            checkpoint=tmp_path / folder,
            resume=resume,
            clip=0.5,
            on_epoch=lambda row: torch.rand(row["epoch"]),
        )
        return net, history, optimizer

    whole, history, optimizer = run(4, "whole")
    run(2, "parts")
    torch.rand(17), np.random.rand(5), random.random()
    resumed, again, optimizer_again = run(4, "parts", resume=True)
    assert equal(whole, resumed)
    assert without_seconds(history) == without_seconds(again) and len(again) == 4
    for first, second in zip(optimizer.state.values(), optimizer_again.state.values(), strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
    for name in ("last.pt", "best.pt"):
        a, b = (load_checkpoint(tmp_path / folder / name) for folder in ("whole", "parts"))
        assert all(torch.equal(a.network[key], b.network[key]) for key in a.network)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True),
        lambda p: torch.optim.RMSprop(p, 0.001, momentum=0.5),
        lambda p: torch.optim.Adamax(p, 0.01),
        lambda p: torch.optim.Adagrad(p, 0.01),
        lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3),
        lambda p: torch.optim.RAdam(p, 0.01),
        lambda p: torch.optim.Rprop(p, 0.01),
    ],
)
def test_any_optimizer_trains_and_resumes(tmp_path: Path, make: Callable[[Any], Any]) -> None:
    def run(epochs: int, folder: str, resume: bool = False) -> nn.Module:
        net = network()
        optimizer = make(net.parameters())
        quiet(net, batches(2), optimizer=optimizer, epochs=epochs, checkpoint=tmp_path / folder, resume=resume)
        return net

    whole = run(2, "whole")
    run(1, "parts")
    assert equal(whole, run(2, "parts", resume=True)) and not equal(whole, network())


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.MultiStepLR(o, [1, 2, 2]),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 3),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=5),
        lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, cycle_momentum=False),
        lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
        lambda o: lr_scheduler.SequentialLR(o, [step_lr(o), lr_scheduler.ExponentialLR(o, 0.9)], [1]),
        lambda o: lr_scheduler.ChainedScheduler([step_lr(o), lr_scheduler.LinearLR(o)], optimizer=o),
        plateau,
    ],
)
def test_any_scheduler_runs_and_resumes(tmp_path: Path, make: Callable[[Any], Any]) -> None:
    def run(epochs: int, folder: str, resume: bool = False) -> History:
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        return quiet(
            net,
            batches(1),
            optimizer=optimizer,
            scheduler=make(optimizer),
            epochs=epochs,
            checkpoint=tmp_path / folder,
            resume=resume,
        )

    rates = run(4, "whole")["learning_rate"]
    assert len(set(rates)) > 1
    run(2, "parts")
    assert run(4, "parts", resume=True)["learning_rate"] == rates


def test_a_plateau_scheduler_is_given_the_watched_loss() -> None:
    class Seen(lr_scheduler.ReduceLROnPlateau):
        seen: list[float]

        def step(self, metrics: Any, epoch: Any = None) -> None:  # type: ignore[override]
            self.seen.append(float(metrics))
            super().step(metrics)

    for validate, column in ((None, "loss"), (batches(1, seed=3), "validation_loss")):
        net = network()
        optimizer = torch.optim.Adam(net.parameters())
        scheduler = Seen(optimizer)
        scheduler.seen = []
        history = quiet(net, batches(), optimizer=optimizer, scheduler=scheduler, validate=validate, epochs=3)
        assert scheduler.seen == history[column]


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(tmp_path: Path) -> None:
    net = network()
    held: list[dict[str, Tensor]] = []
    history = quiet(
        net,
        batches(),
        # Steps against the gradient's sign: it gets worse from some epoch on.
        optimizer=torch.optim.SGD(net.parameters(), 0.1, maximize=True),
        validate=batches(2, seed=5),
        epochs=6,
        checkpoint=tmp_path,
        on_epoch=lambda row: held.append({k: v.clone() for k, v in net.state_dict().items()}),
    )
    losses = history["validation_loss"]
    best = losses.index(min(losses))
    assert best < 5, "the last epoch is the best one: the two files cannot be told apart"
    for name, epoch in (("best.pt", best), ("last.pt", 5)):
        found = load_checkpoint(tmp_path / name)
        assert all(torch.equal(found.network[key], held[epoch][key]) for key in held[epoch])
        assert found.training is not None and found.training["epoch"] == epoch + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt"]


def test_patience_stops_a_run_that_no_longer_improves_also_across_a_resume(tmp_path: Path) -> None:
    def run(epochs: int, folder: str, resume: bool = False) -> History:
        net = network()
        # Steps against the gradient's sign: every epoch is worse than the first.
        optimizer = torch.optim.SGD(net.parameters(), 0.05, maximize=True)
        options: dict[str, Any] = {"patience": 3, "checkpoint": tmp_path / folder, "resume": resume}
        return quiet(net, batches(), optimizer=optimizer, validate=batches(1, seed=2), epochs=epochs, **options)

    history = run(20, "whole")
    assert len(history) == 4 and history.stopped_early
    assert not run(2, "parts").stopped_early
    assert without_seconds(run(20, "parts", resume=True)) == without_seconds(history)
    assert len(run(20, "parts", resume=True)) == 4


def test_clipping_bounds_the_norm_of_all_gradients_together() -> None:
    net, (x, y) = network(), batches()[0]
    CrossEntropy()(net(x)[0], y).backward()
    gradient = [p.grad.clone() for p in net.parameters()]
    norm = float(torch.cat([g.flatten() for g in gradient]).norm())
    for clip in (norm / 10, norm * 10):
        net = network()
        before = [p.detach().clone() for p in net.parameters()]
        quiet(net, [(x, y)], optimizer=torch.optim.SGD(net.parameters(), 1.0), epochs=1, clip=clip)
        share = min(1.0, clip / norm)
        for b, p, g in zip(before, net.parameters(), gradient, strict=True):
            assert torch.allclose(b - p, share * g, rtol=1e-3, atol=1e-6)


def test_parameters_that_the_optimizer_does_not_hold_are_ignored() -> None:
    def run(frozen: bool) -> Any:
        net = network()
        first, last = net.parameters()
        first.requires_grad_(not frozen)
        quiet(net, batches(), optimizer=torch.optim.SGD([last], 0.5), epochs=2, clip=0.05)
        return net

    ours, other = run(False), run(True)
    assert equal(ours, other) and not equal(ours, network())
    # What is left in their .grad is of the last batch alone, not a sum over the run.
    held, net = [], network()
    for data in (batches(), batches()[-1:]):
        quiet(net, data, optimizer=torch.optim.SGD(list(net.parameters())[1:], 0.0), epochs=1)
        held.append(next(net.parameters()).grad.clone())
    assert torch.equal(*held)


def test_the_seed_determines_the_run_and_the_callers_generators_are_unchanged() -> None:
    def run(seed: int | None) -> nn.Module:
        net = Dropped()
        quiet(net, shuffled(), rule=SLTT(k=2), epochs=1, seed=seed)
        return net

    torch.manual_seed(11)
    np.random.seed(11)
    random.seed(11)
    expected = (torch.rand(()), np.random.rand(), random.random())
    torch.manual_seed(11)
    first = run(3)
    np.random.seed(11)
    random.seed(11)
    assert equal(first, run(3)) and not equal(first, run(4))
    torch.manual_seed(11)
    net = Dropped()
    torch.manual_seed(11)
    quiet(net, shuffled(), epochs=1, seed=3)
    assert (torch.rand(()), np.random.rand(), random.random()) == expected
    torch.manual_seed(11)
    quiet(Dropped(), shuffled(), epochs=1, seed=None)
    assert torch.rand(()) != expected[0]


def test_set_epoch_is_called_with_the_epochs_done(tmp_path: Path) -> None:
    class Counted:
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

        def __iter__(self) -> Iterator[Batch]:
            return iter(batches(1))

    data = Counted()
    quiet(network(), data, epochs=2, checkpoint=tmp_path)
    quiet(network(), data, epochs=4, checkpoint=tmp_path, resume=True)
    assert data.epochs == [0, 1, 2, 3]


def test_modes_are_train_inside_and_restored_after() -> None:
    seen = []

    class Watched(Dropped):
        def forward(self, x: Tensor, state: Any = None, *, through_time: bool = True) -> Any:
            seen.append(self.training)
            return super().forward(x, state, through_time=through_time)

    net = Watched()
    net.eval()
    quiet(net, batches(1), validate=batches(1), epochs=2)
    assert seen == [True, False, True, False]
    assert not any(module.training for module in net.modules())


def test_metrics_and_their_names_reach_the_rows() -> None:
    def size(output: Tensor, target: Tensor, predicted: Tensor) -> float:
        return float(len(predicted))

    history = quiet(
        network(), batches(2), validate=batches(1, 3), epochs=1, metrics=[accuracy, size], loss=MaxMembrane()
    )
    assert list(history.last) == [
        "epoch",
        "learning_rate",
        "loss",
        "accuracy",
        "size",
        "validation_loss",
        "validation_accuracy",
        "validation_size",
        "seconds",
    ]
    assert (history.last["size"], history.last["validation_size"]) == (6, 3)
    assert history.last["seconds"] > 0 and history.last["learning_rate"] == 1e-3


def test_the_progress_bar_counts_batches(capsys: pytest.CaptureFixture[str]) -> None:
    fit(network(), batches(3), epochs=2)
    assert "6/6" in capsys.readouterr().err
    quiet(network(), batches(3), epochs=2)
    assert capsys.readouterr().err == ""


class Poisoned:
    """Good batches, and from one on what is done to x."""

    def __init__(self, good: int, bad: Callable[[Tensor], Any]) -> None:
        self.good, self.bad, self.given = good, bad, 0

    def __iter__(self) -> Iterator[Batch]:
        for x, y in batches(3):
            self.given += 1
            if self.given > self.good:
                self.bad(x)
            yield x, y


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_input_is_named_and_the_checkpoint_is_the_last_good_one(tmp_path: Path, value: float) -> None:
    quiet(network(), batches(3), epochs=1, checkpoint=tmp_path / "good")
    net = network()
    with pytest.raises(InputError, match=r"epoch 2, batch 2: x holds NaN or infinity, first at step 3\. Clean"):
        quiet(net, Poisoned(4, lambda x: x[3:].fill_(value)), epochs=3, checkpoint=tmp_path / "bad")
    good, kept = (load_checkpoint(tmp_path / name / "last.pt") for name in ("good", "bad"))
    assert kept.training is not None and kept.training["epoch"] == 1
    assert all(torch.equal(good.network[key], kept.network[key]) for key in good.network)
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())


class Overflowing(CrossEntropy):
    """A loss whose gradient, or which itself, is no longer finite."""

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "what", what)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        value = super().__call__(output, target)
        if getattr(self, "what", "") == "loss":
            return value * float("inf")
        return value + (output.sum() * 0).sqrt()


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("rule", [BPTT(), SLTT()], ids=repr)
def test_a_loss_or_gradient_that_overflows_is_named_with_what_to_try(what: str, rule: Rule) -> None:
    net = network()
    with pytest.raises(
        InputError, match=rf"epoch 1, batch 1: the {what} is \w+\. Lower the learning rate, clip the grad"
    ):
        quiet(net, batches(), rule=rule, loss=Overflowing(what))
    assert equal(net, network())


def test_validation_data_that_is_not_finite_is_named() -> None:
    x, y = batches(1)[0]
    with pytest.raises(InputError, match=r"epoch 1, validation, batch 1: x holds NaN or infinity, first at step 0"):
        quiet(network(), batches(), validate=[(x * float("nan"), y)])


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Make SIGINT raise KeyboardInterrupt, which it does not where the tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(x: Tensor) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("good", [1, 4, 8])
def test_a_resumed_run_after_an_interrupt_equals_the_uninterrupted_one(tmp_path: Path, good: int) -> None:
    whole = network()
    quiet(whole, batches(3), epochs=3)
    net = network()
    with pytest.raises(KeyboardInterrupt):
        quiet(net, Poisoned(good, interrupt), epochs=3, checkpoint=tmp_path)
    resumed = network(1)
    quiet(resumed, batches(3), epochs=3, checkpoint=tmp_path, resume=True)
    assert equal(whole, resumed)


@pytest.mark.usefixtures("ctrl_c")
def test_a_fresh_run_that_is_interrupted_does_not_resume_an_earlier_one(tmp_path: Path) -> None:
    quiet(network(), batches(3), epochs=3, checkpoint=tmp_path)
    whole = network(1)
    quiet(whole, batches(3), epochs=3)
    with pytest.raises(KeyboardInterrupt):
        quiet(network(1), Poisoned(1, interrupt), epochs=3, checkpoint=tmp_path)
    resumed = network(2)
    quiet(resumed, batches(3), epochs=3, checkpoint=tmp_path, resume=True)
    assert equal(whole, resumed)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_while_writing_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(network(), batches(), epochs=1, checkpoint=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("neurosim.files.atomic.os.fsync", lambda descriptor: signal.raise_signal(signal.SIGINT))
        quiet(network(), batches(), epochs=2, checkpoint=tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    quiet(network(), batches(), epochs=2, checkpoint=tmp_path, resume=True)


def test_resuming_a_finished_run_gives_its_history_and_weights(tmp_path: Path) -> None:
    net = network()
    history = quiet(net, batches(), epochs=2, checkpoint=tmp_path)
    other = network(1)
    assert without_seconds(quiet(other, batches(), epochs=2, checkpoint=tmp_path, resume=True)) == without_seconds(
        history
    )
    assert equal(net, other)


def test_a_resume_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    quiet(network(), batches(), epochs=1, checkpoint=tmp_path)

    def refused(kind: type[Exception], match: str, **options: Any) -> None:
        net = options.pop("net", network(1))
        before = {key: value.clone() for key, value in net.state_dict().items()}
        whole = (tmp_path / "last.pt").read_bytes()
        options = {key: value(net) if callable(value) else value for key, value in options.items()}
        with pytest.raises(kind, match=match):
            quiet(net, options.pop("data", batches()), epochs=2, checkpoint=tmp_path, resume=True, **options)
        assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
        assert (tmp_path / "last.pt").read_bytes() == whole

    refused(InputError, r"last\.pt: the run used rule BPTT\(\), now it is SLTT\(k=None, chunk=8\)", rule=SLTT())
    refused(
        InputError,
        r"the run used optimizer Adam, now it is SGD\. Resume with the same",
        optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.1),
    )
    refused(
        InputError,
        r"the run used default optimizer True, now it is False",
        optimizer=lambda net: torch.optim.Adam(list(net.parameters())[:1]),
    )
    refused(
        InputError,
        r"the run used random generators 1, now it is 2",
        data=shuffled(torch.Generator()),
    )
    refused(InputError, r"which the network does not have|which the network needs", net=Dropped())
    save_checkpoint(tmp_path / "last.pt", network())
    refused(FileError, r"last\.pt holds a network but no run to resume")
    save_checkpoint(tmp_path / "last.pt", network(), training={"epoch": 3})
    refused(FileError, r"last\.pt lacks what a run needs to resume")
    (tmp_path / "last.pt").write_bytes((tmp_path / "best.pt").read_bytes()[:-100])
    refused(FileError, r"last\.pt is not a complete checkpoint")


def test_a_missing_scheduler_is_refused(tmp_path: Path) -> None:
    net = network()
    optimizer = torch.optim.Adam(net.parameters())
    quiet(net, batches(1), optimizer=optimizer, scheduler=step_lr(optimizer), epochs=1, checkpoint=tmp_path)
    with pytest.raises(InputError, match=r"the run used scheduler StepLR, now it is none"):
        quiet(net, batches(1), optimizer=optimizer, epochs=2, checkpoint=tmp_path, resume=True)


def test_resume_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"there is no .*last\.pt to resume from\. Start the run with resume=False"):
        quiet(network(), batches(), checkpoint=tmp_path, resume=True)
    with pytest.raises(InputError, match=r"resume=True needs checkpoint=FOLDER"):
        quiet(network(), batches(), resume=True)


def test_a_folder_that_cannot_be_written_is_named_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    data = Poisoned(0, lambda x: pytest.fail("training began"))
    with pytest.raises(FileError, match=r"cannot write .*last\.pt"):
        quiet(network(), data, checkpoint=tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"epochs=0: an integer number of epochs, from 1"),
        ({"epochs": 2.5}, r"epochs=2\.5: an integer number of epochs"),
        ({"patience": 0}, r"patience=0: an integer number of epochs"),
        ({"clip": 0.0}, r"clip=0\.0: the largest gradient norm allowed, a number above 0, or None"),
        ({"clip": float("nan")}, r"clip=nan"),
        ({"seed": -1}, r"seed=-1: an integer from 0"),
        ({"mixed_precision": torch.float16}, r"mixed_precision=torch\.float16 needs a CUDA device"),
        ({"metrics": [accuracy, accuracy]}, r"two columns of the history would be called 'accuracy'"),
        (
            {"rule": SLTT(), "loss": MaxMembrane()},
            r"needs a loss that is a mean over steps; MaxMembrane\(\) uses all",
        ),
        ({"validate": iter(())}, r"validate is a tuple_iterator, which cannot be iterated in every epoch"),
        ({"validate": []}, r"epoch 1, validation: the data has no batch"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quiet(network(), batches(), **options)


def test_data_that_cannot_be_iterated_again_is_refused() -> None:
    with pytest.raises(InputError, match=r"train is a list_iterator, which cannot be iterated in every epoch\. Pass"):
        quiet(network(), iter(batches()))
    with pytest.raises(InputError, match=r"train is a int, which cannot"):
        quiet(network(), 3)
    with pytest.raises(InputError, match=r"train has no batch\. Check the data set and the batch size"):
        quiet(network(), [])


def test_optimizer_and_scheduler_must_belong_to_the_network() -> None:
    net = network()
    other = torch.optim.Adam(network().parameters())
    with pytest.raises(InputError, match=r"the optimizer Adam has no parameter of this network\. Make it from"):
        quiet(net, batches(), optimizer=other)
    with pytest.raises(InputError, match=r"a scheduler was given without its optimizer"):
        quiet(net, batches(), scheduler=step_lr(other))
    with pytest.raises(InputError, match=r"the scheduler StepLR was made for another optimizer than the one given"):
        quiet(net, batches(), optimizer=torch.optim.Adam(net.parameters()), scheduler=step_lr(other))
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(InputError, match=r"no parameter that requires a gradient: there is nothing to train"):
        quiet(net, batches())


def test_parameters_that_no_gradient_reaches_are_named() -> None:
    def late() -> Any:
        nodes: dict[str, Any] = {"input": ns.Input(8), "hidden": ns.LIF(dt=DT), "out": ns.LI(dt=DT)}
        first = ns.Edge("input", "hidden", ns.Linear(8, 12))
        return ns.Network(nodes, [first, ns.Edge("hidden", "out", ns.Linear(12, 3), delay=2 * DT)])

    with pytest.warns(UserWarning, match=r"no gradient reaches .*input->hidden.*SLTT\(.*will not train") as told:
        quiet(late(), batches(2), rule=SLTT(), epochs=2, wake=False)
    said = [str(one.message) for one in told if one.category is UserWarning]
    assert len(said) == 1 and "hidden->out" not in said[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ActivityWarning)
        quiet(late(), batches(2), epochs=1)


class Scaled(Precision):
    """Scaling as on CUDA, without the half precision that makes it necessary."""

    def __init__(self, dtype: torch.dtype | None, device: torch.device, optimizer: Any = None) -> None:
        super().__init__(None, device, optimizer)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=3)


def test_scaled_gradients_change_no_step_and_their_scale_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = network()
    expected = quiet(plain, batches(), epochs=4, clip=0.1)
    monkeypatch.setattr("neurosim.learning.training.fit.Precision", Scaled)
    scaled = network()
    history = quiet(scaled, batches(), epochs=4, clip=0.1, checkpoint=tmp_path / "whole")
    # Powers of two leave every bit of a gradient as it was, but the clipping norm may be summed another way.
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    quiet(network(), batches(), epochs=2, clip=0.1, checkpoint=tmp_path / "parts")
    resumed = network()
    quiet(resumed, batches(), epochs=4, clip=0.1, checkpoint=tmp_path / "parts", resume=True)
    assert equal(scaled, resumed)
    for folder in ("whole", "parts"):
        training = load_checkpoint(tmp_path / folder / "last.pt").training
        assert training is not None and training["scaler"]["scale"] == 2.0**17
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"the run used gradient scaling True, now it is False"):
        quiet(network(), batches(), epochs=5, clip=0.1, checkpoint=tmp_path / "parts", resume=True)


def test_a_scaled_gradient_that_overflows_leaves_that_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurosim.learning.training.fit.Precision", Scaled)
    net = network()
    quiet(net, batches(2), loss=Overflowing("gradient"), epochs=1)
    assert equal(net, network())
    with pytest.raises(InputError, match=r"epoch 1, batch 1: the loss is inf"):
        quiet(net, batches(2), loss=Overflowing("loss"), epochs=1)
