"""Objects of the wrong form are refused by `fit` and `evaluate` with an example of the right one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import InputError, NeurosimError

BATCH = (torch.rand(5, 3, 4), torch.tensor([0, 1, 0]))


def network():
    return ns.Sequential(ns.Linear(4, 2), ns.LI(dt=1e-3))


class Plain(nn.Module):
    """A module that returns a tensor alone, as users of torch write it."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, state=None, **choices):
        return self.net(x, state, **choices)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": ns.SLTT}, r"rule is a value such as ns\.BPTT\(\).*the class SLTT\. Make a value of it: SLTT\(\)"),
        ({"rule": "sltt"}, r"rule is a value such as ns\.BPTT\(\) .*got 'sltt'"),
        ({"loss": ns.CrossEntropy}, r"loss is a value such as ns\.CrossEntropy\(\); got the class CrossEntropy"),
        ({"loss": nn.CrossEntropyLoss}, r"got the class CrossEntropyLoss"),
        ({"loss": "mse"}, r"loss is a value such as .*'mse'"),
        ({"loss": torch.nn.functional.cross_entropy}, r"Put the function into a subclass of ns\.Loss"),
        ({"loss": nn.MSELoss(reduction="none")}, r'reduction="mean"'),
        ({"optimizer": torch.optim.Adam}, r"torch\.optim\.Adam\(net\.parameters\(\), lr=1e-3\); got the class Adam"),
        ({"optimizer": "adam"}, r"optimizer is a value such as .*'adam'"),
        ({"scheduler": torch.optim.lr_scheduler.StepLR}, r"StepLR\(optimizer, step_size=5\); got the class StepLR"),
        ({"metrics": ns.accuracy}, r"metrics=\[ns\.accuracy\]"),
        ({"metrics": "accuracy"}, r"metrics=\[ns\.accuracy\]"),
        ({"metrics": ["accuracy"]}, r"metrics=\[ns\.accuracy\].*Pass functions"),
        ({"metrics": [dict]}, r"Pass an instance, dict\(\.\.\.\)"),
        ({"epochs": True}, r"epochs=True: an integer"),
        ({"clip": "1"}, r"clip='1': the largest gradient norm"),
        ({"clip": True}, r"clip=True"),
        ({"accumulate": 0}, r"accumulate=0: an integer number of batches"),
        ({"average": 1.0}, r"average=1\.0: a number from 0 to below 1"),
        ({"watch": 3}, r"watch=3: the name of a column"),
        ({"watch": "validation_accuracy"}, r"is no column of the history, which has \['epoch'"),
        ({"watch_mode": "highest"}, r'watch_mode=\'highest\': "min" or "max"'),
        ({"scheduler_per": "step"}, r'scheduler_per=\'step\': "epoch" or "batch"'),
        ({"on_epoch": 3}, r"on_epoch=3: a function of the progress"),
        ({"on_batch": "stop"}, r"on_batch='stop': a function"),
        ({"device": "gpu"}, r'device=\'gpu\': a device such as "cpu", "cuda"'),
        ({"device": 1.5}, r"device=1\.5: a device such as"),
        ({"validate": torch.rand(3)}, r"validate is a Tensor, which cannot be iterated"),
    ],
)
def test_objects_of_the_wrong_form(options, message):
    with pytest.raises(InputError, match=message):
        ns.fit(network(), [BATCH], **({"progress": False, "epochs": 1} | options))


@pytest.mark.parametrize("run", [partial(ns.fit, progress=False), ns.evaluate], ids=["fit", "evaluate"])
def test_data_and_networks_of_the_wrong_form(run):
    for wrong in (torch.utils.data.DataLoader, BATCH[0], "digits", {"x": 1}, iter([BATCH])):
        with pytest.raises(InputError, match=r"Pass a DataLoader|pass a DataLoader"):
            run(network(), wrong)
    for other in (ns.Sequential, Plain, "net", None):
        with pytest.raises(InputError, match=r"needs a network, such as ns\.Sequential\("):
            run(other, [BATCH])
    with pytest.raises(InputError, match=r"the forward of Plain returned Tensor; a network returns \(output"):
        run(Plain(), [BATCH])


@pytest.mark.parametrize("rule", [ns.BPTT(), ns.SLTT(), ns.OTTT()], ids=repr)
def test_rules_refuse_a_module_that_returns_a_tensor(rule):
    with pytest.raises(InputError, match="the forward of Plain returned Tensor"):
        rule.gradients(Plain(), *BATCH, ns.CrossEntropy())


def test_evaluate_checks_loss_and_metrics():
    for options in ({"loss": ns.CrossEntropy}, {"metrics": "accuracy"}, {"device": "gpu"}):
        with pytest.raises(NeurosimError, match="such as"):
            ns.evaluate(network(), [BATCH], **options)
