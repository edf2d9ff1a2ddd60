"""One declaration of an operation: its call in plain eager code, torch's operator, and the gradients of both.

An operation is described by three NamedTuples and a few functions of them: its arguments (Call), its results (Outputs)
and what the backward pass reads (Saved). `Operation` makes an autograd function of them, `Operator` also the torch
operators ``neurosim::<name>`` and ``neurosim::<name>_backward`` with schemas, fake kernels, autograd and autocast. The
wrapper of a torch operator costs more than the kernels of a small layer; in plain eager code on plain tensors the same
functions are therefore called without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from neurosim.kernels.common import constants
from neurosim.kernels.common.autograd import (
    VmapByElement,
    call_under_transform,
    can_call_directly,
    check_devices,
    forbid_double_backward,
    under_transform,
)
from neurosim.kernels.common.fields import Fields

Call = TypeVar("Call", bound=tuple[Any, ...])
Outputs = TypeVar("Outputs", bound=tuple[Any, ...])
Saved = TypeVar("Saved", bound=tuple[Any, ...])
Needs = Sequence[bool]
Gradients = Sequence[Tensor | None]

# Groups of fields, counted from the first.
_DIFFERENTIABLE, _PUBLIC = 1, 2


class Operation(Generic[Call, Outputs, Saved]):
    """A function of tensors and its backward function, for plain eager code.

    Parameters
    ----------
    call, outputs, saved : type of NamedTuple
        Arguments, results, and what the backward pass reads; `Fields` says which types their fields may have.
    forward : callable
        From a call to outputs.
    save : callable
        From a call and its outputs to what the backward pass reads.
    backward : callable
        From three arguments to the gradients of `inputs`. The arguments: what is saved; whether the gradient of each
        field of one tensor in `inputs` is needed; the gradients of `results`, zeros where there is none. The gradients:
        first those of fields of one tensor, which may be None where they are not needed, then those of several.
    inputs, results : sequence of str
        Fields of the call and of the outputs that have gradients.
    private : sequence of str
        Fields of the outputs that only `save` reads.
    absent : sequence of int
        Positions of gradients of `results` that are None where there is none.
    """

    def __init__(
        self,
        call: type[Call],
        outputs: type[Outputs],
        saved: type[Saved],
        *,
        forward: Callable[[Call], Outputs],
        save: Callable[[Call, Outputs], Saved],
        backward: Callable[[Saved, Needs, Any], Gradients],
        inputs: Sequence[str],
        results: Sequence[str],
        private: Sequence[str] = (),
        absent: Sequence[int] = (),
    ) -> None:
        self.forward, self.save, self.backward = forward, save, backward
        self._absent = frozenset(absent)
        self._call_fields, self._saved_fields = Fields(call, inputs), Fields(saved)
        public = [name for name in Fields(outputs).tensors if name not in (*results, *private)]
        self._output_fields = Fields(outputs, results, public)
        self._single_inputs = len(self._call_fields.single_places(1))
        self._no_gradients = (None,) * (len(self._call_fields.tensors) - len(inputs))
        self._call_tensors, self._call_rest = self._call_fields.flat(), self._call_fields.without_tensors()
        self._saved_tensors, self._saved_rest = self._saved_fields.flat(), self._saved_fields.without_tensors()
        self._saved_rebuilt = self._saved_fields.rebuilt()
        self._count_differentiable = self._output_fields.count(_DIFFERENTIABLE)
        self._function = _plain_function(self, self._output_fields.flat(_PUBLIC))

    def __call__(self, call: Call) -> Outputs:
        """Run the operation on plain tensors, outside of compilers and transforms."""
        if not torch.is_grad_enabled():
            return self.forward(call)
        received: list[Outputs] = []
        self._function.apply(received, call, *self._call_tensors(call))
        return received[0]

    def remember(self, ctx: Any, call: Call, outputs: Outputs, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Keep in `ctx` what the backward pass reads; return those of the outputs' `tensors` without gradients."""
        saved = self.save(call, outputs)
        ctx.save_for_backward(*self._saved_tensors(saved))
        ctx.saved = self._saved_rest(saved)
        differentiable = self._count_differentiable(outputs)
        ctx.results = [(t.shape, t.dtype) for t in tensors[:differentiable]]
        ctx.set_materialize_grads(False)
        return tensors[differentiable:]

    def recall(self, ctx: Any, grads: Gradients) -> tuple[Saved, Gradients]:
        """Return what was kept, and the gradients of the results."""
        tensors = ctx.saved_tensors  # read once: each read unpacks them, which `torch.utils.checkpoint` allows once
        filled = list(grads[: len(ctx.results)])
        for place, g in enumerate(filled):
            if g is None and place not in self._absent:
                shape, dtype = ctx.results[place]
                like = grads[0] if grads[0] is not None else _first((*grads, *tensors))
                filled[place] = constants.filled(like, shape, 0.0, dtype)
        return self._saved_rebuilt(tensors, *ctx.saved), filled

    def run_backward(self, ctx: Any, needs: Needs, grads: Gradients) -> Gradients:
        """Return the gradients of all tensors of the call in the backward pass of an autograd function."""
        saved, filled = self.recall(ctx, grads)
        needs = needs[: self._single_inputs]
        found: Gradients
        if under_transform():
            found = _with_none(call_under_transform(self.without_none, saved, needs, filled), needs)
        elif torch.is_grad_enabled():
            with torch.no_grad():
                found = self.backward(saved, needs, filled)
            found = forbid_double_backward(found)
        else:
            found = self.backward(saved, needs, filled)
        return *found, *self._no_gradients

    def without_none(self, saved: Saved, needs: Needs, grads: Gradients) -> list[Tensor]:
        """Return the gradients of the inputs, those of one tensor that are not needed as tensors of no elements."""
        return [g.contiguous() for g in _filled(self.backward(saved, needs, grads), needs, grads)]


class Operator(Operation[Call, Outputs, Saved]):
    """An operation that is also an operator of torch, for torch.compile, autocast, tensor subclasses and torch.func.

    Parameters
    ----------
    name : str
        Name of the operator.
    call, outputs, saved, **operation
        As in `Operation`. A field of outputs of several tensors has as many as the field of the call of the same name;
        one other field may have any number.
    fake : callable
        From a call to outputs of the right shapes and types.
    fake_gradients : callable
        From the arguments of `backward` to tensors of the shapes and types of all gradients.
    unshared : callable, optional
        From a call and its outputs to outputs without tensors of the call: an operator must not return its arguments.
    devices : sequence of str, optional
        Types of devices with a kernel; all if left out.
    autocast : sequence of str
        Types of devices on which autocast converts the arguments to single precision.

    Attributes
    ----------
    forward_operator, backward_operator : torch.library.CustomOpDef
    """

    def __init__(
        self,
        name: str,
        call: type[Call],
        outputs: type[Outputs],
        saved: type[Saved],
        *,
        fake: Callable[[Call], Outputs],
        fake_gradients: Callable[[Saved, Needs, Any], Sequence[Tensor]],
        unshared: Callable[[Call, Outputs], Outputs] | None = None,
        devices: Sequence[str] | None = None,
        autocast: Sequence[str] = ("cpu",),
        **operation: Any,
    ) -> None:
        super().__init__(call, outputs, saved, **operation)
        self._call, self._saved, self._unshared = call, saved, unshared
        self._fake, self._fake_gradients = fake, fake_gradients
        self._output_tensors, self._output_rebuilt = self._output_fields.flat(), self._output_fields.rebuilt()
        self._gradients_rebuilt = self._call_fields.rebuilt(_DIFFERENTIABLE)
        names, results = self._call_fields.names, self._output_fields
        several = [results.names[place] for place in results.several_places()]
        self._same_length = [names.index(name) if name in names else None for name in several]
        self._transformed_function = _transformed_function(self, self._call_fields.rebuilt())
        arguments = self._call_fields.schema
        kept = f"{self._saved_fields.schema}, bool[] needs, Tensor?[] grads"
        self.forward_operator = _custom(name, arguments, self.run, self._run_fake, devices)
        self.backward_operator = _custom(f"{name}_backward", kept, self._run_back, self._run_back_fake, devices)
        self.forward_operator.register_autograd(self._operator_backward, setup_context=self._setup_context)
        for device in autocast:
            self.forward_operator.register_autocast(device, torch.float32)

    def __call__(self, call: Call) -> Outputs:
        """Run the operation."""
        tensors = self._call_tensors(call)
        if not can_call_directly(tensors):
            return self.outputs_of(call, self.forward_operator(*map(_argument, call)))
        check_devices(tensors)
        if under_transform():
            return self.outputs_of(call, self._transformed_function.apply(*self._call_rest(call), *tensors))
        if not torch.is_grad_enabled():
            return self.forward(call)
        received: list[Outputs] = []
        self._function.apply(received, call, *tensors)
        return received[0]

    def outputs_of(self, call: Call, tensors: Sequence[Tensor]) -> Outputs:
        """Return the outputs of `call` whose tensors are these."""
        known = [None if place is None else len(call[place]) for place in self._same_length]
        singles = len(self._output_fields.single_places())
        remaining = len(tensors) - singles - sum(length or 0 for length in known)
        lengths = [remaining if length is None else length for length in known]
        return self._output_rebuilt(tensors, self._output_fields.defaults, lengths)

    def run(self, *arguments: Any) -> list[Tensor]:
        """Run the operation as an operator or under a transform: return all outputs, private ones too."""
        call: Any = self._call(*arguments)
        outputs = self.forward(call)
        return self._output_tensors(outputs if self._unshared is None else self._unshared(call, outputs))

    def _run_fake(self, *arguments: Any) -> list[Tensor]:
        call: Any = self._call(*arguments)
        return self._output_tensors(self._fake(call))

    def _run_back(self, *arguments: Any) -> list[Tensor]:
        *kept, needs, grads = arguments
        saved: Any = self._saved(*kept)
        return self.without_none(saved, needs, grads)

    def _run_back_fake(self, *arguments: Any) -> list[Tensor]:
        *kept, needs, grads = arguments
        saved: Any = self._saved(*kept)
        return _filled(self._fake_gradients(saved, needs, grads), needs, grads)

    def _setup_context(self, ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
        call: Any = self._call(*inputs)
        # Outputs without gradients are not marked: torch must refuse a gradient of the gradients computed from them.
        self.remember(ctx, call, self.outputs_of(call, output), output)
        # torch takes an empty list of numbers for a list of tensors, and asks for a list of gradients.
        ctx.none = [[] if isinstance(value, (list, tuple)) and not len(value) else None for value in call]
        _, ctx.lengths = self._call_rest(call)

    def _operator_backward(self, ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        saved, filled = self.recall(ctx, grads)
        needs = [bool(ctx.needs_input_grad[place]) for place in self._call_fields.single_places(_DIFFERENTIABLE)]
        found = _with_none(self.backward_operator(*map(_argument, saved), needs, filled), needs)
        return tuple(self._gradients_rebuilt(found, ctx.none, ctx.lengths))


def _custom(name: str, arguments: str, run: Any, fake: Any, devices: Sequence[str] | None) -> Any:
    schema = f"({arguments}) -> Tensor[]"
    operator = torch.library.custom_op(f"neurosim::{name}", run, mutates_args=(), device_types=devices, schema=schema)
    operator.register_fake(fake)
    return operator


def _argument(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _first(tensors: Gradients) -> Tensor:
    """Return the first tensor that is not None."""
    return next(t for t in tensors if t is not None)


def _filled(gradients: Gradients, needs: Needs, grads: Gradients) -> list[Tensor]:
    """Return `gradients` with a tensor of no elements in place of those of one tensor that are not needed."""
    like = _first(grads)
    singles = [g if need and g is not None else like.new_empty(0) for g, need in zip(gradients, needs, strict=False)]
    return [*singles, *(g for g in gradients[len(needs) :] if g is not None)]


def _with_none(gradients: Sequence[Tensor], needs: Needs) -> Gradients:
    """Return `gradients` with None in place of those of one tensor that are not needed."""
    singles = [g if need else None for g, need in zip(gradients, needs, strict=False)]
    return [*singles, *gradients[len(needs) :]]


def _plain_function(operation: Operation[Any, Any, Any], tensors_of: Callable[[Any], list[Tensor]]) -> Any:
    """Return the autograd function that plain eager code calls, given the function from outputs to their tensors.

    Its forward pass takes the context: torch inspects the signature of the other form at every call, which costs as
    much as a small kernel. torch marks its results in place, so that the caller receives the outputs as they are.
    """

    def forward(ctx: Any, received: list[Any], call: Any, *_: Tensor | None) -> tuple[Tensor, ...]:
        outputs = operation.forward(call)
        received.append(outputs)
        tensors = tensors_of(outputs)
        ctx.mark_non_differentiable(*operation.remember(ctx, call, outputs, tensors))
        return tuple(tensors)

    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, None, *operation.run_backward(ctx, ctx.needs_input_grad[2:], grads)

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("PlainFunction", (torch.autograd.Function,), members)


def _transformed_function(operator: Operator[Any, Any, Any], rebuilt: Callable[..., Any]) -> Any:
    """Return the autograd function that runs under transforms of torch.func.

    Parameters
    ----------
    operator : Operator
    rebuilt : callable
        From tensors, other arguments and lengths to a call; see `Fields.rebuilt`.
    """

    class TransformedFunction(VmapByElement):
        @staticmethod
        def forward(rest: list[Any], lengths: list[int], *tensors: Tensor | None) -> tuple[Tensor, ...]:
            return tuple(operator.run(*rebuilt(tensors, rest, lengths)))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            rest, lengths, *tensors = inputs
            call = rebuilt(tensors, rest, lengths)
            ctx.mark_non_differentiable(*operator.remember(ctx, call, operator.outputs_of(call, output), output))

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
            return None, None, *operator.run_backward(ctx, ctx.needs_input_grad[2:], grads)

    return TransformedFunction
