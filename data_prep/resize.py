"""Slices at another number of pixels: the input pipeline and prediction resize by the same functions."""

import numpy as np


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture (H, W, C) to rows and columns `size`, float32: means of areas downwards, linear upwards."""
    import cv2

    cv2.setNumThreads(0)  # slices are worked on in parallel already
    method = cv2.INTER_AREA if size[0] <= image.shape[0] else cv2.INTER_LINEAR
    resized = cv2.resize(image.astype(np.float32), size[::-1], interpolation=method)
    return resized.reshape(*size, image.shape[-1])


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a bit-packed label (H, W) to rows and columns `size`: the class that covers most of each new pixel."""
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=256))
    areas = resize_image(np.stack([label == bits for bits in present], axis=-1), size)
    return present.astype(label.dtype)[areas.argmax(axis=-1)]
