"""Copies and pickles of compiled functions."""

import copy
import pickle

import numpy as np

import graphc as gx
from graphc import nn

X = np.ones((1, 2), np.float32)


@gx.compile(inputs=[gx.spec((None, 2))])
def double(x):
    return x * 2


class Scaled:
    def __init__(self):
        self.by = 3.0

    @gx.compile
    def __call__(self, x):
        return self.scale(x)

    @gx.compile
    def scale(self, x):
        return x * self.by


def test_a_deep_copy_of_a_function_that_was_called_is_a_function_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    f = gx.compile(model, inputs=[gx.spec((None, 2))])
    before = f(X).numpy()
    g = copy.deepcopy(f)
    assert g.inputs == f.inputs and not g.specializations
    for p in model.parameters():
        p.assign(np.zeros(p.shape, np.float32))
    np.testing.assert_array_equal(g(X), before)  # it has a model of its own
    assert not f(X).numpy().any()
    assert copy.copy(double)(X).tolist() == copy.deepcopy(double)(X).tolist() == [[2, 2]]


def test_methods_are_copied_with_their_instance() -> None:
    first = Scaled()
    method = first.scale
    assert method(X).tolist() == [[3, 3]]
    second = copy.deepcopy(method)
    second.__self__.by = 4.0
    assert second(X).tolist() == [[4, 4]] and method(X).tolist() == [[3, 3]]


def test_functions_are_pickled_by_name_and_modules_with_their_parameters() -> None:
    double(X)
    assert pickle.loads(pickle.dumps(double)) is double
    f = gx.compile(nn.Linear(2, 2))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(X), f(X))
    assert pickle.loads(pickle.dumps(Scaled().scale))(X).tolist() == [[3, 3]]
