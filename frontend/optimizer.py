"""What optimizers share: parameters in groups with hyperparameters, gradients in, assignments to Variables out.

Hyperparameters are Variables: `optimizer.lr = 1e-4` takes effect at the next call, without another trace. They are
float64 scalars, so that a rate is what was written; updates compute in the parameter's dtype (float32 for 16 bits).
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from graphc.brief import brief
from graphc.errors import GraphcError, ShapeError, TraceError

from .context import current_frame
from .emit import ArrayLike, as_tensor, cast
from .gradients import cut_off, reached_gradients
from .guards import attributes
from .location import stack_level, with_user_line
from .nn.module import Module, assign_state
from .numbers import NumberError, finite
from .tensor import Tensor
from .variable import Variable
from .watch import Watched
from .words import Owner, leading_on, names_of, unknown

Parameters: TypeAlias = Module | Variable | Iterable[Variable | tuple[str, Variable] | Mapping[str, Any]]
Update: TypeAlias = "Callable[[ParameterGroup, int, Tensor, Tensor], Tensor]"


class HyperparameterError(NumberError):
    """An option that an optimizer can't work with."""


class GroupError(HyperparameterError, KeyError):
    """A name that is no option of a group of parameters."""

    __str__ = GraphcError.__str__


class _Grouped:
    """What each group of parameters has one of: an optimizer's attribute is that of all its groups."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @with_user_line
    def __get__(self, optimizer: Any, owner: type) -> Any:
        if optimizer is None:
            raise AttributeError(f"{self.name} belongs to an optimizer, not to its class")
        return _common(optimizer, self.name)

    @with_user_line
    def __set__(self, optimizer: Any, value: ArrayLike) -> None:
        for group in optimizer.param_groups:
            group[self.name] = value


class hyperparameter(_Grouped):
    """A number of an optimizer that may change while training. Each group of parameters keeps its own in a Variable,
    which is what a trace reads; outside of traces it reads as the number that it is now.

    `least` and `below` bound it: least ≤ x < below.
    """

    def __init__(self, least: float = 0.0, below: float = math.inf) -> None:
        self.least, self.below = least, below

    def checked(self, value: Any) -> float:
        """The number. Raises NumberError for one out of bounds, and for what is no number."""
        return finite(value, self.name, least=self.least, below=self.below)


class flag(_Grouped):
    """An option of an optimizer that is True or False. Each group of parameters has its own; traces depend on it."""

    def checked(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise HyperparameterError(f"{self.name} is True or False", got=brief(value))
        return value


def _common(optimizer: Optimizer, name: str) -> Any:
    """What all groups have for it. Raises HyperparameterError where they differ."""
    first, *others = (group[name] for group in optimizer.param_groups)
    if any(other is not first if current_frame() is not None else other != first for other in others):
        raise HyperparameterError(
            f"the groups of parameters have {name}s of their own",
            got=f"{1 + len(others)} groups",
            hint=f'optimizer.param_groups[0]["{name}"]',
        )
    return first


class ParameterGroup(Watched, Mapping[str, Any]):
    """Parameters with hyperparameters of their own. It is used like PyTorch's dict: group["lr"] = 1e-4 takes effect
    without another trace; group["params"] are the Variables.

    `fixed`: options that can't be changed any more, each with the reason. Optimizers keep further state as attributes.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    __eq__, __hash__ = object.__eq__, object.__hash__

    def __init__(self, owner: type[Optimizer], params: Sequence[Variable]) -> None:
        self._owner = owner
        self._params = tuple(params)
        self.fixed: Mapping[str, str] = {}

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return list(self._params)
        if name == "betas":
            return self["beta1"], self["beta2"]
        self._kind(name)
        found = getattr(self, name)
        return found.value.item() if isinstance(found, Variable) and current_frame() is None else found

    @with_user_line
    def __setitem__(self, name: str, value: Any) -> None:
        if name == "betas":
            self["beta1"], self["beta2"] = pair(value)
            return
        kind, known = self._kind(name), attributes(self).get(name)
        if known is not None and current_frame() is not None and isinstance(kind, hyperparameter):
            known.assign(cast(as_tensor(value), known.dtype))
            return
        checked = kind.checked(value)
        if name in self.fixed and checked != self[name]:
            raise HyperparameterError(self.fixed[name], got=f"{name}={checked}")
        if isinstance(kind, flag):
            setattr(self, name, checked)
        elif known is None:
            setattr(self, name, Variable(checked, trainable=False, dtype="float64", name=name))
        else:
            known.assign(checked)

    def _kind(self, name: str) -> hyperparameter | flag:
        if name not in self._owner.kinds:
            raise GroupError(
                "a group of parameters has other options",
                got=brief(name),
                hint=", ".join(["params", *self._owner.kinds]),
            )
        return self._owner.kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("params", *self._owner.kinds))

    def __len__(self) -> int:
        return 1 + len(self._owner.kinds)

    def __repr__(self) -> str:
        texts = (f"{name}={self[name]!r}" for name in self._owner.kinds)
        return f"ParameterGroup({len(self._params)} Variables, {', '.join(texts)})"


def pair(betas: Any) -> tuple[Any, Any]:
    """Two numbers. Raises ShapeError for anything else."""
    try:
        first, second = betas
    except (TypeError, ValueError):
        raise ShapeError("betas are two numbers", got=brief(betas)) from None
    return first, second


_CALLED_OTHERWISE = frozenset({"learning_rate", "betas"})  # what one may try to set, to no effect


class Optimizer(Watched):
    """What optimizers share.

    parameters  a module, a Variable, or several (`(name, Variable)` pairs give names); or groups, each a dict with
                "params" and hyperparameters of its own: [{"params": body}, {"params": head, "lr": 1e-2}].
                Those that are not trainable are left out. A Variable is in one group only.
    options     the hyperparameters of all groups that have none of their own.

    Raises NumberError for numbers that make no sense.
    """

    lr = hyperparameter()
    kinds: ClassVar[dict[str, hyperparameter | flag]]  # of all options, by name

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = (item for c in reversed(cls.__mro__) for item in vars(c).items())
        cls.kinds = {name: kind for name, kind in found if isinstance(kind, hyperparameter | flag)}

    if not TYPE_CHECKING:

        @leading_on
        def __getattr__(self, name: str) -> Any:
            unknown(Owner.OPTIMIZER, name, type(self).__name__, partial(names_of, [*attributes(self)], type(self)))

    @with_user_line
    def __setattr__(self, name: str, value: Any) -> None:
        """Raises UnknownNameError for what other frameworks call it: setting that would do nothing."""
        if name in _CALLED_OTHERWISE and not hasattr(type(self), name):
            unknown(Owner.OPTIMIZER, name, type(self).__name__, list)
        super().__setattr__(name, value)

    @with_user_line
    def __init__(self, parameters: Parameters, lr: float, **options: Any) -> None:
        self._defaults = {"lr": lr, **options}
        self._groups: tuple[ParameterGroup, ...] = ()
        self._given: list[list[tuple[str, Variable]]] = []  # of each group
        self._take(_described(parameters), parameters)

    @with_user_line
    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """One more group: a dict with "params" and hyperparameters of its own, as PyTorch's. The others are those that
        the optimizer was made with. What is known of earlier groups stays; a compiled step is traced again.

        Raises TraceError in a trace, for Variables that are in a group already, and for a group without trainable ones;
        NumberError and GroupError for what is no option. Then nothing has changed.
        """
        if current_frame() is not None:
            hint = "add it before the step is called"
            raise TraceError("groups of parameters are added outside of traces", hint=hint)
        if not isinstance(param_group, Mapping):
            hint = 'optimizer.add_param_group({"params": head, "lr": 1e-4})'
            raise TraceError('a group of parameters is a dict with "params"', got=brief(param_group), hint=hint)
        self._take(_described([param_group]), param_group)

    def _take(self, described: Sequence[Mapping[str, Any]], parameters: Any) -> None:
        """Add groups, all or none."""
        given = [*self._given, *(_named(d["params"]) for d in described)]
        names, unique = _all_names(given)
        if not any(unique[len(self._groups) :]):
            raise TraceError(
                "an optimizer needs trainable Variables",
                got=brief(parameters),
                hint="a module has those that are its attributes: self.weight = gx.Variable(x)",
            )
        added = [ParameterGroup(type(self), found) for found in unique[len(self._groups) :]]
        for group, own in zip(added, described, strict=True):
            for name, value in {**self._defaults, **own}.items():
                if name != "params":
                    group[name] = value
            self.prepare(group)
        # Tuples, since what lists hold is compared at each call.
        self._given, self._names = given, names
        self._groups = (*self._groups, *added)
        self._parameters = tuple(p for found in unique for p in found)
        self._group_numbers = tuple(g for g, found in enumerate(unique) for _ in found)
        self.grow()

    @property
    def param_groups(self) -> tuple[ParameterGroup, ...]:
        """The groups of parameters; one, unless several were given."""
        return self._groups

    @property
    def names(self) -> list[str]:
        """What the parameters are called: paths in the module, or numbers."""
        return list(self._names)

    @property
    def parameters(self) -> list[Variable]:
        """What is trained, each Variable once."""
        return list(self._parameters)

    @with_user_line
    def minimize(self, loss: Tensor) -> None:
        """Make gradients of the loss, and the updates that follow from them, part of the trace.

        Parameters that the loss does not depend on stay as they are, and so do those that are not `trainable` now.
        Raises TraceError outside of a trace, and where the loss depends on no parameter at all.
        """
        trained = [p for p in self._parameters if p.trainable]
        if not trained:
            raise TraceError("none of the optimizer's parameters is trainable", got=", ".join(self._names))
        found = reached_gradients(loss, trained)
        if unreached := [p for p, g in zip(trained, found, strict=True) if g is None]:
            self._tell_unreached(loss, unreached, is_all=len(unreached) == len(trained))
        gradients = {id(p): g for p, g in zip(trained, found, strict=True)}
        self.apply([gradients.get(id(p)) for p in self._parameters])

    def _tell_unreached(self, loss: Tensor, unreached: Sequence[Variable], is_all: bool) -> None:
        """Raise TraceError where all are, warn where one is because the loss took a Variable for the value assigned."""
        cut = cut_off(loss, unreached, self._parameters)
        rule = f"the loss depends on none of the {len(unreached)} parameters"
        hint = "compute it, inside the same trace, with the model that the optimizer was made for"
        if cut:
            number = next(i for i, p in enumerate(self._parameters) if p is cut[0][0])
            name, through = self._names[number], cut[0][1].name
            rule = f"no gradient reaches {name}: the loss reads {through} after it was assigned, where gradients stop"
            hint = f"compute the loss with the tensor that is assigned to {through}"
        if is_all:
            raise TraceError(rule, got=", ".join(self._names), hint=hint)
        if cut:
            warnings.warn(f"{rule}; {hint}", stacklevel=stack_level())

    @with_user_line
    def apply(self, gradients: Sequence[ArrayLike | None] | Mapping[str, ArrayLike | None]) -> None:
        """Update the parameters from given gradients: one for each of `parameters`, or a dict by their names, as
        `gx.grad` of a module gives it. None, and a name that is not there, leaves one as it is.

        Raises TraceError outside of a trace, ShapeError for other numbers of gradients, names or shapes; then nothing
        has changed.
        """
        if current_frame() is None:
            raise TraceError(
                "an optimizer's updates are part of a traced function",
                hint="call apply or minimize inside a function with @gx.compile",
            )
        given = [None if g is None else as_tensor(g) for g in self._in_order(gradients)]
        for name, parameter, g in zip(self._names, self._parameters, given, strict=True):
            if g is not None and g.shape != parameter.shape:
                raise ShapeError(f"a gradient has its parameter's shape: {name} is {parameter.type}", got=str(g.type))
        for group in self._groups:
            self.begin(group)
        updated = self._updates()
        for number, (parameter, gradient) in enumerate(zip(self._parameters, given, strict=True)):
            if gradient is not None:
                group = self._groups[self._group_numbers[number]]
                dtype = parameter.dtype.computes_as
                new = updated(group, number, cast(parameter.value, dtype), cast(gradient, dtype))
                parameter.assign(cast(new, parameter.dtype))

    def _in_order(self, gradients: Any) -> list[Any]:
        if isinstance(gradients, Mapping):
            if strange := sorted(map(str, gradients.keys() - set(self._names))):
                raise ShapeError("gradients have the parameters' names", got=", ".join(strange[:5]))
            return [gradients.get(name) for name in self._names]
        if len(gradients) != len(self._parameters):
            got = f"{len(gradients)} for {len(self._parameters)}"
            raise ShapeError("there is one gradient for each parameter", got=got)
        return list(gradients)

    def prepare(self, group: ParameterGroup) -> None:
        """Make what a new group keeps beside its hyperparameters, which it has by now. Raises where they disagree."""

    def grow(self) -> None:
        """Make what each parameter keeps, for those that are new: see `moments`."""

    def begin(self, group: ParameterGroup) -> None:
        """What happens once for each step and group, before the parameters."""

    @abstractmethod
    def updated(self, group: ParameterGroup, number: int, parameter: Tensor, gradient: Tensor) -> Tensor:
        """The new value of parameter `number`, which is in this group: `group["lr"]` and the like are its
        hyperparameters. Both tensors are of the dtype that the update computes in."""

    def _updates(self) -> Update:
        """`updated`, for the parameters of one `apply`."""
        return self.updated

    def moments(self, name: str, known: Sequence[Variable] = ()) -> tuple[Variable, ...]:
        """Those that are known, and zeros like each parameter behind those, in the dtype that updates compute in."""
        new = (
            Variable(np.zeros(p.shape, p.dtype.computes_as.numpy), trainable=False, name=f"{p.name}_{name}")
            for p in self._parameters[len(known) :]
        )
        return (*known, *new)

    # State

    def named_variables(self) -> dict[str, Variable]:
        """All state: hyperparameters and counters by name (with several groups "param_groups.0.lr"), moments by name
        and parameter."""
        result: dict[str, Variable] = {}
        for number, group in enumerate(self._groups):
            prefix = f"param_groups.{number}." if len(self._groups) > 1 else ""
            result |= {prefix + name: v for name, v in attributes(group).items() if isinstance(v, Variable)}
        for name, value in attributes(self).items():
            if isinstance(value, Variable):
                result[name] = value
            elif (
                isinstance(value, list | tuple)
                and value  # SGD without momentum has no velocities
                and name != "_parameters"
                and all(isinstance(v, Variable) for v in value)
            ):
                result |= {f"{name}.{of}": v for of, v in zip(self._names, value, strict=True)}
        return result

    def state_dict(self) -> dict[str, Tensor]:
        """Snapshots of all state, so that training can go on elsewhere."""
        return {name: v.value for name, v in self.named_variables().items()}

    @with_user_line
    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Assign all state; other names in it are left alone.

        Raises StateError, a KeyError, for a missing name, ShapeError and DTypeError for arrays that don't fit; then
        nothing has changed.
        """
        assign_state(f"this {type(self).__name__}", self.named_variables(), state, required=True, exact=False)

    def __repr__(self) -> str:
        lines = (f"\n  ({number}): {group!r}" for number, group in enumerate(self._groups))
        return f"{type(self).__name__}({''.join(lines)}\n)"


def _described(parameters: Any) -> list[dict[str, Any]]:
    """The groups as they were given, each a dict with "params"."""
    if isinstance(parameters, Mapping):
        raise _no_parameters(parameters, "a list of groups: [{\"params\": ..., \"lr\": ...}, ...]")
    if isinstance(parameters, Module | Variable):
        return [{"params": parameters}]
    if isinstance(parameters, str) or not isinstance(parameters, Iterable):
        raise _no_parameters(parameters)
    given = list(parameters)
    if not any(isinstance(g, Mapping) for g in given):
        return [{"params": given}]
    for group in given:
        if not isinstance(group, Mapping) or "params" not in group:
            raise TraceError('a group of parameters is a dict with "params"', got=brief(group))
    return [dict(group) for group in given]


def _no_parameters(found: object, hint: str = "gx.Variable(array) makes one") -> TraceError:
    if getattr(found, "__name__", "") == "parameters":
        hint = "the module itself, or model.parameters() with parentheses"
    return TraceError("an optimizer takes a module or Variables, or groups of them", got=brief(found), hint=hint)


def _named(parameters: Any) -> list[tuple[str, Variable]]:
    """The trainable Variables of a group, by path in the module, by the name given, or without one."""
    if isinstance(parameters, Module):
        return list(parameters.named_parameters())
    if isinstance(parameters, str) or not isinstance(parameters, Variable | Iterable):
        raise _no_parameters(parameters)
    found = []
    for item in [parameters] if isinstance(parameters, Variable) else list(parameters):
        name, variable = item if isinstance(item, tuple) and len(item) == 2 else ("", item)
        if not isinstance(variable, Variable) or not isinstance(name, str):
            raise _no_parameters(item)
        if variable.trainable:
            found.append((name, variable))
    return found


def _all_names(groups: list[list[tuple[str, Variable]]]) -> tuple[tuple[str, ...], list[list[Variable]]]:
    """A name for each parameter, all different, and the parameters of each group, each once."""
    owner: dict[int, int] = {}
    names: list[tuple[int, str]] = []
    unique: list[list[Variable]] = [[] for _ in groups]
    position = 0
    for number, group in enumerate(groups):
        for name, variable in group:
            if owner.setdefault(id(variable), number) != number:
                raise TraceError("a Variable is in one group of parameters only", got=name or variable.name)
            if not any(variable is v for v in unique[number]):
                unique[number].append(variable)
                names.append((number, name or str(position)))
            position += 1
    plain = [name for _, name in names]
    if len(set(plain)) < len(plain):
        plain = [f"{number}.{name}" for number, name in names]
    return tuple(plain), unique


__all__ = ["HyperparameterError", "Optimizer", "ParameterGroup", "flag", "hyperparameter", "pair"]
