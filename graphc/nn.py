"""`graphc.nn`: layers, activations, losses, initializers (in `nn.init`), and parameters in files."""

from typing import TYPE_CHECKING

from .frontend.nn import init
from .frontend.nn.activations import (
    ELU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from .frontend.nn.attention import scaled_dot_product_attention
from .frontend.nn.functional import (
    dropout,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_swish,
    hard_tanh,
    layer_norm,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)
from .frontend.nn.layers import Dropout, Flatten, Identity, LayerNorm, Linear, Sequential, parameter
from .frontend.nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .frontend.nn.module import Module, static
from .frontend.parameters import load_parameters, save_parameters
from .frontend.words import Owner, unknown_in

__all__ = [
    "ELU", "GELU", "GLU", "SELU", "Dropout", "Flatten", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity",
    "LayerNorm", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "Mish", "Module", "ReLU", "ReLU6", "Sequential",
    "SiLU", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "elu", "gelu", "glu", "hard_sigmoid",
    "hard_swish", "hard_tanh", "huber_loss", "init", "kl_div", "l1_loss", "layer_norm", "leaky_relu",
    "load_parameters", "log_sigmoid", "log_softmax", "mish", "mse_loss", "nll_loss", "parameter", "relu", "relu6",
    "save_parameters", "scaled_dot_product_attention", "selu", "sigmoid", "silu", "smooth_l1_loss", "softmax",
    "softplus", "softsign", "static", "tanh",
]  # fmt: skip

if not TYPE_CHECKING:  # for which every name would be there
    __getattr__ = unknown_in(Owner.NN)
