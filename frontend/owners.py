"""Where names are looked for: modules, and what users hold."""

from __future__ import annotations

from enum import Enum


class Owner(Enum):
    """Where a name is looked for: a module of graphc's, by its name, or something that users hold."""

    GX = "graphc"
    NN = "graphc.nn"
    INIT = "graphc.frontend.nn.init"
    OPTIM = "graphc.optim"
    RANDOM = "graphc.random"
    LINALG = "graphc.linalg"
    TENSOR = "a tensor"
    MODULE = "a module"
    OPTIMIZER = "an optimizer"
    FUNCTION = "a compiled function"


# What each module is called in examples, the most likely home of a name first.
SPELLED = {
    Owner.GX: "gx", Owner.NN: "nn", Owner.OPTIM: "optim", Owner.RANDOM: "gx.random", Owner.LINALG: "gx.linalg",
    Owner.INIT: "nn.init",
}  # fmt: skip
