"""Resizing of slices, in training and prediction alike."""

import numpy as np

AT_ONCE = 4  # channels that OpenCV averages over areas


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, C) to rows and columns `size`: means of areas where it shrinks, linear where it grows.

    uint8 stays uint8, rounded; everything else becomes float32.
    """
    import cv2

    rows, columns = image.shape[:2]
    if (size[0] - rows) * (size[1] - columns) < 0:  # one axis shrinks and the other grows
        return resize_image(resize_image(image, (size[0], columns)), size)
    cv2.setNumThreads(0)  # slices are worked on in parallel already
    method = cv2.INTER_AREA if size[0] <= rows and size[1] <= columns else cv2.INTER_LINEAR
    resized = np.empty((*size, image.shape[-1]), np.float32)
    for first in range(0, image.shape[-1], AT_ONCE):
        part = np.ascontiguousarray(image[..., first : first + AT_ONCE], np.float32)
        resized[..., first : first + AT_ONCE] = cv2.resize(part, size[::-1], interpolation=method).reshape(*size, -1)
    return np.rint(resized).astype(np.uint8) if image.dtype == np.uint8 else resized


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a bit-packed label (H, W) to rows and columns `size`: the class that covers most of each new pixel."""
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=256))
    areas = resize_image(np.stack([label == bits for bits in present], axis=-1), size)
    return present.astype(label.dtype)[areas.argmax(axis=-1)]
