"""`cached_property` as Python has it from 3.12 on: without the lock of 3.11's, one for all instances of a class, which
a child forked while another thread computes a property would find taken."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:
        """A property that is computed once for each instance, and kept in its `__dict__`."""

        def __init__(self, function: Any) -> None:
            self.function = function
            self.__doc__ = function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            found = instance.__dict__[self.name] = self.function(instance)
            return found


__all__ = ["cached_property"]
