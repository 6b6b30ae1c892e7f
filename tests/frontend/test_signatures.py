"""Calls fit the signature of what is called, not of what that wraps."""

import functools

import numpy as np
import pytest

import graphc as gx

X = np.array([1.0, 2.0])


def adding(f):
    """A decorator that gives an argument more than its caller."""

    @functools.wraps(f)
    def wrapper(x):
        return f(x, 3.0)

    return wrapper


def adding_to_any(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, k=3.0, **kwargs)

    return wrapper


def passing(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs)

    return wrapper


def swapped(f):
    @functools.wraps(f)
    def wrapper(k, x):
        return f(x, k)

    return wrapper


def scaled(x, k):
    return gx.sum(x * k)


@pytest.mark.parametrize("decorator", [adding, adding_to_any])
def test_a_decorator_may_add_arguments(decorator) -> None:
    f = decorator(scaled)
    assert gx.compile(f)(X).item() == gx.compile(f)(x=X).item() == 9
    assert gx.compile(lambda x: gx.compile(f)(x))(X).item() == 9
    assert gx.grad(f)(X).tolist() == [3, 3]


def test_arguments_given_by_name_go_where_the_function_itself_has_them() -> None:
    f = gx.compile(swapped(lambda x, k: x - k))
    assert f(k=X, x=X * 3).tolist() == f(X, X * 3).tolist() == [2, 4]


def test_arguments_that_are_passed_on_have_one_form() -> None:
    f = gx.compile(passing(scaled), inputs=[gx.spec((2,), "float64"), gx.spec((2,), "float64")])
    assert f(X, k=X).item() == f(X, X).item() == 5
    assert len(f.specializations) == 1
