"""What names of other frameworks are called here: the tables behind `words.py`, imported when one is looked up.

Nothing but data. A test holds each entry to name only what exists, and to be about a name that does not.
"""

from __future__ import annotations

from .owners import Owner

_CONVERT = "gx.astype(x, gx.float32) converts"
_DEVICES = "gx.compile(fn, backend=...) and gx.using(backend=...) say where work is done; x.device, x.to_device('cpu')"
_NO_TAPE = "nothing is recorded for gradients unless one is asked for: leave it out; gx.stop_gradient(x) cuts one value"
_MINIMIZE = "gradients and updates are one call inside a compiled function: optimizer.minimize(loss)"
IMMUTABLE = "tensors are immutable: compute a new one, and keep state in a gx.Variable, which has assign(new)"
_NO_CONVOLUTION = "this version has no convolutions and no pooling windows; gx.mean(x, axis=(2, 3)) pools a whole image"
_NO_RECURRENCE = "write one step with nn.Linear, and gx.scan(step, h, xs) takes it along the sequence"
_ATTENTION = "nn.scaled_dot_product_attention(q, k, v), with nn.Linear before and after"
_NO_BATCH_NORM = "this version has no batch norm; nn.LayerNorm normalizes each row"
_CUMULATIVE_SUM, _CUMULATIVE_PROD = "gx.cumulative_sum(x, axis=0)", "gx.cumulative_prod(x, axis=0)"
_NO_COUNT = "this version does not count; gx.sum(gx.one_hot(x, n), axis=0) does, and NumPy does outside"
_TOP = "values, indices = gx.top_k(x, k)"
_MEDIAN = "gx.take(gx.sort(x), x.shape[-1] // 2, axis=-1)"
_LOOPS = "gx.scan and gx.fori_loop repeat, gx.while_loop repeats while a condition holds, gx.cond and gx.switch choose"
_MAP = "array functions broadcast; _, ys = gx.scan(lambda c, x: (c, f(x)), None, xs) applies f slice by slice"
_NO_DECOMPOSITION = "this version has no decompositions; NumPy has them, outside of compiled functions"
_FLATTEN = "gx.reshape(x, (-1,)), or nn.Flatten() for all axes but the first"
_CLOSE = "np.allclose(x, y) on concrete tensors; gx.all(gx.abs(x - y) <= tolerance) inside a compiled function"
_SCHEDULE = "set optimizer.lr = ... between calls; that retraces nothing"
_CLIP = (
    "grads = gx.gradients(loss, optimizer.parameters), scale them, and optimizer.apply(grads), all in the compiled "
    "function"
)
_OTHER_OPTIMIZER = "this version has optim.SGD, optim.Adam and optim.AdamW; optim.Optimizer is the base of your own"
_MODES = "plain lists and dicts of modules are looked into: self.layers = [nn.Linear(8, 8), ...]"
_TRAINABLE = "gx.Variable(x, trainable=False) is state that no optimizer changes; parameters have .trainable"

WORDS: dict[Owner, dict[str, str]] = {
    Owner.GX: {
        "tensor": "gx.asarray(x)", "array": "gx.asarray(x)", "as_tensor": "gx.asarray(x)", "ndarray": "gx.Tensor",
        "from_numpy": "gx.asarray(x)", "constant": "gx.asarray(x)", "cat": "gx.concat([x, y], axis=0)",
        "concatenate": "gx.concat([x, y], axis=0)", "vstack": "gx.concat([x, y], axis=0)",
        "hstack": "gx.concat([x, y], axis=1)", "dot": "gx.matmul(x, y) or x @ y; gx.vecdot along one axis",
        "mm": "gx.matmul(x, y) or x @ y", "bmm": "gx.matmul(x, y) or x @ y", "mv": "gx.matmul(x, y) or x @ y",
        "addmm": "x @ y + z, which is one kernel", "inner": "gx.vecdot(x, y)",
        "transpose": "gx.permute_dims(x, (1, 0)); x.T for a matrix", "t": "x.T",
        "permute": "gx.permute_dims(x, (1, 0))", "swapaxes": "gx.swap_axes(x, 0, 1)",
        "unsqueeze": "gx.expand_dims(x, axis=0)", "view": "gx.reshape(x, shape)", "ravel": _FLATTEN,
        "flatten": _FLATTEN, "expand": "gx.broadcast_to(x, shape)", "clamp": "gx.clip(x, low, high)",
        "gather": "gx.take_along_axis(x, indices, axis=1)", "index_select": "gx.take(x, indices, axis=0)",
        "scatter": "gx.where, or gx.one_hot(indices, n) times the values",
        "masked_fill": "gx.where(mask, value, x)", "select": "gx.take(x, i, axis=0) or x[i]",
        "nan_to_num": "gx.where(gx.isnan(x), 0.0, x)", "allclose": _CLOSE, "isclose": _CLOSE, "array_equal": _CLOSE,
        "no_grad": _NO_TAPE, "enable_grad": _NO_TAPE, "inference_mode": _NO_TAPE, "set_grad_enabled": _NO_TAPE,
        "autograd": "gx.grad(fn), gx.value_and_grad(fn), or gx.gradients(loss, wrt) inside a compiled function",
        "GradientTape": "gx.value_and_grad(fn), or gx.gradients(loss, wrt) inside a compiled function",
        "jacobian": "gx.vjp and gx.jvp; this version has no vmap over them", "hessian": "gx.grad of gx.grad",
        "manual_seed": "gx.random.seed(n)", "rand": "gx.random.uniform(shape)", "randn": "gx.random.normal(shape)",
        "rand_like": "gx.random.uniform(x.shape)", "randn_like": "gx.random.normal(x.shape)",
        "jit": "gx.compile(fn), or @gx.compile", "function": "@gx.compile", "tree_map": "optree.tree_map",
        "vmap": "array functions broadcast: give the batch an axis of its own; this version has no vmap",
        "pmap": "array functions broadcast: give the batch an axis of its own; this version has no vmap",
        "remat": "gx.checkpoint(f), or gx.scan(body, init, xs, remat=True)",
        "lax": _LOOPS, "control_flow": _LOOPS, "higher_order_ops": _LOOPS, "for_loop": _LOOPS, "while_": _LOOPS,
        "map": _MAP, "map_fn": _MAP, "foldl": "gx.scan(body, init, xs)",
        "foldr": "gx.scan(body, init, xs, reverse=True)", "fold": "gx.scan(body, init, xs)",
        "case": "gx.switch(index, branches, *args)", "reduce": "gx.scan(body, init, xs), or gx.sum, gx.max, ...",
        "associative_scan": "gx.scan(body, init, xs), which goes step by step",
        "if_else": "gx.cond(p, f, g, *args)", "select_n": "gx.where(mask, x, y)",
        "numpy": "array functions are at gx itself: gx.exp(x)",
        "functional": "the functions of networks are in nn: nn.relu(x)",
        "device": _DEVICES, "cuda": _DEVICES, "get_default_device": _DEVICES,
        "set_num_threads": "with gx.using(threads=n), or GRAPHC_THREADS",
        "get_num_threads": "gx.thread_count()", "set_default_dtype": "give dtype= where arrays and layers are made",
        "save": "model.save(path); nn.save_parameters(state, path) for any state_dict; fn.build(path) for a function",
        "float": "gx.float32", "double": "gx.float64", "half": "gx.float16", "long": "gx.int64", "int": "gx.int32",
        "FloatTensor": "gx.asarray(x, dtype=gx.float32)", "LongTensor": "gx.asarray(x, dtype=gx.int64)",
        "arcsin": "gx.asin", "arccos": "gx.acos", "arctan": "gx.atan", "arctan2": "gx.atan2", "arcsinh": "gx.asinh",
        "arccosh": "gx.acosh", "arctanh": "gx.atanh", "power": "gx.pow", "mod": "gx.remainder",
        "fmod": "gx.remainder",
        "true_divide": "gx.divide", "div": "gx.divide", "mul": "gx.multiply", "sub": "gx.subtract",
        "neg": "gx.negative",
        "eq": "gx.equal", "ne": "gx.not_equal", "lt": "gx.less", "le": "gx.less_equal", "gt": "gx.greater",
        "ge": "gx.greater_equal", "absolute": "gx.abs", "amax": "gx.max", "amin": "gx.min",
        "norm": "gx.linalg.vector_norm(x)", "topk": _TOP, "msort": "gx.sort(x, axis=0)",
        "argpartition": _TOP, "partition": _TOP,
        "unique": "gx.unique_values(x), outside of compiled functions", "bincount": _NO_COUNT,
        "median": _MEDIAN, "bucketize": "gx.searchsorted(boundaries, x)", "digitize": "gx.searchsorted(boundaries, x)",
        "cumsum": _CUMULATIVE_SUM, "cumprod": _CUMULATIVE_PROD, "cummax": "gx.cumulative_max(x, axis=0)",
        "cummin": "gx.cumulative_min(x, axis=0)", "cumlogsumexp": "gx.logcumsumexp(x, axis=0)",
        "cumulative_logsumexp": "gx.logcumsumexp(x, axis=0)",
        "config": "settings are GRAPHC_... environment variables, and gx.using(backend=..., threads=...)",
        "Module": "nn.Module", "Parameter": "gx.Variable(x)", "Sequential": "nn.Sequential",
        "conv2d": _NO_CONVOLUTION, "conv": _NO_CONVOLUTION,
    },
    Owner.NN: {
        "functional": "the functions are in nn itself: nn.relu(x)", "F": "the functions are in nn itself: nn.relu(x)",
        "Embedding": "table = nn.parameter((n, d), 'float32', nn.init.normal()), and gx.take(table, ids, axis=0)",
        "CrossEntropyLoss": "nn.cross_entropy(logits, classes)", "NLLLoss": "nn.nll_loss(log_p, classes)",
        "MSELoss": "nn.mse_loss(x, y)", "L1Loss": "nn.l1_loss(x, y)", "SmoothL1Loss": "nn.smooth_l1_loss(x, y)",
        "HuberLoss": "nn.huber_loss(x, y)", "BCELoss": "nn.binary_cross_entropy(p, y)",
        "BCEWithLogitsLoss": "nn.binary_cross_entropy_with_logits(x, y)", "KLDivLoss": "nn.kl_div(log_p, q)",
        "Conv1d": _NO_CONVOLUTION, "Conv2d": _NO_CONVOLUTION, "Conv3d": _NO_CONVOLUTION, "Conv": _NO_CONVOLUTION,
        "conv2d": _NO_CONVOLUTION, "MaxPool2d": _NO_CONVOLUTION, "AvgPool2d": _NO_CONVOLUTION,
        "AdaptiveAvgPool2d": _NO_CONVOLUTION, "max_pool2d": _NO_CONVOLUTION, "ConvTranspose2d": _NO_CONVOLUTION,
        "BatchNorm": _NO_BATCH_NORM, "BatchNorm1d": _NO_BATCH_NORM, "BatchNorm2d": _NO_BATCH_NORM,
        "batch_norm": _NO_BATCH_NORM, "GroupNorm": "nn.layer_norm over a reshaped input",
        "RMSNorm": "x * gx.rsqrt(gx.mean(x * x, axis=-1, keepdims=True) + 1e-6) * weight, which is one kernel",
        "LSTM": _NO_RECURRENCE, "GRU": _NO_RECURRENCE, "RNN": _NO_RECURRENCE, "LSTMCell": _NO_RECURRENCE,
        "GRUCell": _NO_RECURRENCE, "MultiheadAttention": _ATTENTION, "Transformer": _ATTENTION,
        "TransformerEncoderLayer": _ATTENTION,
        "Parameter": "gx.Variable(x)", "Buffer": _TRAINABLE, "ModuleList": _MODES, "ModuleDict": _MODES,
        "ParameterList": _MODES, "Dense": "nn.Linear(inputs, outputs)", "Swish": "nn.SiLU", "swish": "nn.silu",
        "logsigmoid": "nn.log_sigmoid", "Dropout1d": "nn.Dropout", "Dropout2d": "nn.Dropout",
        "utils": _CLIP, "initializers": "nn.init", "Unflatten": "gx.reshape(x, shape)",
    },
    Owner.INIT: {
        "kaiming_uniform_": "initializers make values: nn.Linear(3, 4, init=nn.init.kaiming_uniform())",
        "kaiming_normal_": "initializers make values: nn.Linear(3, 4, init=nn.init.kaiming_normal())",
        "xavier_uniform_": "initializers make values: nn.Linear(3, 4, init=nn.init.xavier_uniform())",
        "xavier_normal_": "initializers make values: nn.Linear(3, 4, init=nn.init.xavier_normal())",
        "normal_": "nn.Linear(3, 4, init=nn.init.normal(0.0, 0.02)); v.assign(x) for a Variable that exists",
        "uniform_": "nn.Linear(3, 4, init=nn.init.uniform(-1.0, 1.0)); v.assign(x) for a Variable that exists",
        "zeros_": "nn.init.zeros; v.assign(gx.zeros(v.shape)) for a Variable that exists",
        "ones_": "nn.init.ones; v.assign(gx.ones(v.shape)) for a Variable that exists",
        "constant_": "nn.init.constant(value); v.assign(gx.full(v.shape, value)) for a Variable that exists",
        "glorot_uniform": "nn.init.xavier_uniform()", "glorot_normal": "nn.init.xavier_normal()",
        "lecun_normal": "nn.init.he_normal(gain=1.0)",
        "orthogonal_": "this version has no orthogonal initializer; NumPy's np.linalg.qr gives one",
        "trunc_normal_": "this version truncates no distribution; nn.init.normal(0.0, 0.02) is close to it",
    },
    Owner.OPTIM: {
        "lr_scheduler": _SCHEDULE, "RMSprop": _OTHER_OPTIMIZER, "Adagrad": _OTHER_OPTIMIZER,
        "Adadelta": _OTHER_OPTIMIZER, "Adamax": _OTHER_OPTIMIZER, "LBFGS": _OTHER_OPTIMIZER, "Lion": _OTHER_OPTIMIZER,
        "NAdam": _OTHER_OPTIMIZER, "rmsprop": _OTHER_OPTIMIZER, "cosine_decay_schedule": _SCHEDULE,
        "exponential_decay": _SCHEDULE, "clip_by_global_norm": _CLIP,
        "swa_utils": "keep the average of each parameter in a gx.Variable",
        "apply_updates": _MINIMIZE, "chain": "one optimizer, and what is done to gradients written out: " + _CLIP,
    },
    Owner.RANDOM: {
        "PRNGKey": "gx.random.Generator(seed), given as generator= where random numbers are drawn",
        "key": "gx.random.Generator(seed), given as generator= where random numbers are drawn",
        "split": "a gx.random.Generator(seed) goes on by itself; make several for several streams",
        "default_rng": "gx.random.Generator(seed)", "RandomState": "gx.random.Generator(seed)",
        "manual_seed": "gx.random.seed(n)", "rand": "gx.random.uniform(shape)", "random": "gx.random.uniform(shape)",
        "randn": "gx.random.normal(shape)", "standard_normal": "gx.random.normal(shape)",
        "get_rng_state": "gx.random.get_state()", "set_rng_state": "gx.random.set_state(state)",
        "integers": "gx.random.randint", "permutation": "NumPy's, outside of compiled functions",
        "shuffle": "NumPy's, outside of compiled functions", "choice": "NumPy's, outside of compiled functions",
        "categorical": "gx.argmax(logits - gx.log(-gx.log(gx.random.uniform(logits.shape))), axis=-1)",
    },
    Owner.LINALG: {
        "norm": "gx.linalg.vector_norm(x)", "dot": "gx.matmul(x, y)",
        **dict.fromkeys(
            ("svd", "eig", "eigh", "qr", "cholesky", "inv", "det", "solve", "pinv", "slogdet", "matrix_rank",
             "eigvalsh", "svdvals"),
            _NO_DECOMPOSITION,
        ),
    },
    Owner.TENSOR: {
        "backward": "gx.grad(fn)(x); inside a compiled function optimizer.minimize(loss) or gx.gradients(loss, wrt)",
        "grad": "gx.grad(fn)(x), or gx.gradients(loss, wrt) inside a compiled function",
        "requires_grad": _NO_TAPE, "requires_grad_": _NO_TAPE, "grad_fn": _NO_TAPE, "is_leaf": _NO_TAPE,
        "retain_grad": _NO_TAPE, "register_hook": _NO_TAPE,
        "detach": "gx.stop_gradient(x) cuts a gradient; without one asked for there is nothing to detach",
        "cpu": "x.numpy() reads a tensor wherever it is; x.to_device('cpu')", "cuda": _DEVICES, "is_cuda": _DEVICES,
        "to": _CONVERT, "astype": _CONVERT, "type_as": _CONVERT, "float": "gx.astype(x, gx.float32)",
        "double": "gx.astype(x, gx.float64)", "half": "gx.astype(x, gx.float16)", "long": "gx.astype(x, gx.int64)",
        "int": "gx.astype(x, gx.int32)", "bool": "gx.astype(x, gx.bool)", "bfloat16": "gx.astype(x, gx.bfloat16)",
        "view": "gx.reshape(x, shape)", "view_as": "gx.reshape(x, y.shape)", "reshape_as": "gx.reshape(x, y.shape)",
        "unsqueeze": "gx.expand_dims(x, axis=0), or x[None]", "permute": "gx.permute_dims(x, (1, 0))",
        "transpose": "gx.swap_axes(x, 0, 1), gx.permute_dims(x, (1, 0)), or x.T for a matrix",
        "swapaxes": "gx.swap_axes(x, 0, 1)", "t": "x.T", "H": "x.T", "flatten": _FLATTEN, "ravel": _FLATTEN,
        "expand": "gx.broadcast_to(x, shape)", "expand_as": "gx.broadcast_to(x, y.shape)", "clone": IMMUTABLE,
        "copy": IMMUTABLE, "contiguous": "tensors are contiguous always",
        "is_contiguous": "tensors are contiguous always",
        "data": "a Variable's value is v.value; v.assign(new) changes it", "dim": "x.ndim", "numel": "x.size",
        "nelement": "x.size", "norm": "gx.linalg.vector_norm(x)", "dot": "x @ y", "mm": "x @ y", "bmm": "x @ y",
        "gather": "gx.take_along_axis(x, indices, axis=1)", "index_select": "gx.take(x, indices, axis=0)",
        "scatter_": IMMUTABLE, "index_add_": IMMUTABLE, "fill": IMMUTABLE, "itemset": IMMUTABLE,
        "at": "gx.where(mask, v, x); tensors are immutable", "masked_fill": "gx.where(mask, value, x)",
        "clamp": "gx.clip(x, low, high)", "sort": "gx.sort(x, axis=-1), and gx.argsort(x, axis=-1) for where they were",
        "argsort": "gx.argsort(x, axis=-1)", "topk": _TOP, "median": _MEDIAN,
        "cumsum": _CUMULATIVE_SUM, "cumprod": _CUMULATIVE_PROD,
        "nonzero": "gx.nonzero(x), outside of compiled functions",
        "block_until_ready": "a result is ready when the call returns", "assign": "only a gx.Variable is assigned to",
        "value": "x is a value already; a gx.Variable has one",
        "allclose": _CLOSE, "itemsize": "x.dtype.itemsize", "strides": "tensors are contiguous always",
    },
    Owner.MODULE: {
        "cuda": _DEVICES, "cpu": _DEVICES, "to": "give dtype= where layers are made; " + _DEVICES,
        "half": "give dtype= where layers are made", "float": "give dtype= where layers are made",
        "double": "give dtype= where layers are made", "bfloat16": "give dtype= where layers are made",
        "zero_grad": "gradients do not accumulate, so there is nothing to clear; " + _MINIMIZE,
        "register_buffer": "self.name = gx.Variable(x, trainable=False)",
        "register_parameter": "self.name = gx.Variable(x)",
        "add_module": "self.name = module", "register_module": "self.name = module",
        "children": "model.modules(), or model.members()", "named_children": "model.named_members()",
        "named_modules": "model.named_members()", "buffers": "model.named_variables()",
        "named_buffers": "model.named_variables()", "apply": "for module in model.modules(): ...",
        "requires_grad_": "for p in model.parameters(): p.trainable = False",
        "backward": _MINIMIZE, "compile": "gx.compile(model)", "fit": "write the loop: " + _MINIMIZE,
        "predict": "gx.compile(model)", "summary": "print(model)",
        "init": "layers have their parameters when they are made",
        "append": "model.layers.append(layer)", "register_forward_hook": "override forward",
    },
    Owner.OPTIMIZER: {
        "step": _MINIMIZE, "update": _MINIMIZE, "init": "an optimizer has its state when it is made: optim.Adam(model)",
        "zero_grad": "gradients do not accumulate, so there is nothing to clear; " + _MINIMIZE,
        "learning_rate": "optimizer.lr", "betas": "optimizer.beta1 and optimizer.beta2",
    },
    Owner.FUNCTION: {
        "lower": "fn.source(x, stage='llvm-ir'), or fn.graph(x)", "trace": "gx.trace(fn, x)",
        "compile": "a call compiles; fn.specialize(x) does so without a call", "cost_analysis": "fn.report(x)",
        "save": "fn.build(path, kind='package'), and gx.load(path)", "backward": _MINIMIZE,
        "parameters": "the model has them: model.parameters()", "code": "fn.source(x, stage='asm')",
    },
}  # fmt: skip
