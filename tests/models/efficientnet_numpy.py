"""EfficientNet-lite0 in NumPy, from the arrays of a checkpoint; and a checkpoint of random numbers."""

import numpy as np

BLOCKS = [  # filters, kernel, stride, expansion (Tan and Le, 2019, table 1)
    *[(16, 3, 1, 1)],
    *[(24, 3, 2, 6), (24, 3, 1, 6)],
    *[(40, 5, 2, 6), (40, 5, 1, 6)],
    *[(80, 3, 2, 6), (80, 3, 1, 6), (80, 3, 1, 6)],
    *[(112, 5, 1, 6), (112, 5, 1, 6), (112, 5, 1, 6)],
    *[(192, 5, 2, 6), (192, 5, 1, 6), (192, 5, 1, 6), (192, 5, 1, 6)],
    *[(320, 3, 1, 6)],
]


def checkpoint(seed=0):
    """Name -> random array, as the published file has them, that keep the size of features about the same over the layers."""
    rng = np.random.default_rng(seed)
    arrays = {}

    def convolution(name, outputs, inputs, kernel):
        scale = (2 / (inputs * kernel * kernel)) ** 0.5
        arrays[f"{name}.weight"] = (scale * rng.standard_normal((outputs, inputs, kernel, kernel))).astype(np.float32)

    def norm(name, channels):
        limits = {"weight": (0.8, 1.2), "bias": (-0.3, 0.3), "running_mean": (-0.3, 0.3), "running_var": (0.3, 1)}
        for part, (low, high) in limits.items():
            arrays[f"{name}.{part}"] = rng.uniform(low, high, channels).astype(np.float32)
        arrays[f"{name}.num_batches_tracked"] = np.array(9, np.int64)

    convolution("_conv_stem", 32, 3, 3)
    norm("_bn0", 32)
    inputs = 32
    for number, (filters, kernel, _, expansion) in enumerate(BLOCKS):
        block, wide = f"_blocks.{number}.", inputs * expansion
        if expansion > 1:
            convolution(f"{block}_expand_conv", wide, inputs, 1)
            norm(f"{block}_bn0", wide)
        convolution(f"{block}_depthwise_conv", wide, 1, kernel)
        norm(f"{block}_bn1", wide)
        convolution(f"{block}_project_conv", filters, wide, 1)
        norm(f"{block}_bn2", filters)
        inputs = filters
    convolution("_conv_head", 1280, 320, 1)
    norm("_bn1", 1280)
    arrays["_fc.weight"], arrays["_fc.bias"] = np.zeros((1000, 1280), np.float32), np.zeros(1000, np.float32)
    return arrays


def windows(x, kernel, stride):
    """(N, h, w, C, kernel, kernel) of images padded as TensorFlow's "same": the larger half at the end."""
    pads = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[1:3]]
    padded = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


def features(arrays, images, top=True):
    """Images (N, H, W, 3), scaled, -> features (N, 1280), or without the top (N, H / 32, W / 32, 320)."""

    def norm(x, name):
        weight, bias, mean, variance = (arrays[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        return (x - mean) / np.sqrt(variance + 1e-3) * weight + bias

    def convolution(x, name, stride=1):
        kernel = arrays[f"{name}.weight"]
        return np.einsum("nhwcij,ocij->nhwo", windows(x, kernel.shape[-1], stride), kernel, optimize=True)

    def relu6(x):
        return np.clip(x, 0, 6)

    x = relu6(norm(convolution(images, "_conv_stem", 2), "_bn0"))
    for number, (filters, kernel, stride, expansion) in enumerate(BLOCKS):
        block, y = f"_blocks.{number}.", x
        if expansion > 1:
            y = relu6(norm(convolution(y, f"{block}_expand_conv"), f"{block}_bn0"))
        depthwise = arrays[f"{block}_depthwise_conv.weight"][:, 0]
        y = relu6(norm(np.einsum("nhwcij,cij->nhwc", windows(y, kernel, stride), depthwise), f"{block}_bn1"))
        y = norm(convolution(y, f"{block}_project_conv"), f"{block}_bn2")
        x = x + y if stride == 1 and x.shape[-1] == filters else y
    return relu6(norm(convolution(x, "_conv_head"), "_bn1")).mean((1, 2)) if top else x
