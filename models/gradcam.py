"""Grad-CAM (Selvaraju et al., 2017): heat maps of the evidence for a class in an image.

The features of the last convolution, weighted by the mean of the logit's gradient over positions, summed and cut off at zero.
Behind a global average pooling that mean is the gradient by the pooled features over the number of positions, so only the small
head is differentiated, not the backbone.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from models.classifier import BACKBONE, PREPROCESSING

if TYPE_CHECKING:
    import keras


def grad_cam(
    model: "keras.Model", images: np.ndarray, head: str, class_index: int | None = None, batch_size: int = 8
) -> np.ndarray:
    """Heat maps of the evidence for a class.

    Args:
        model: images -> {head: logits}, as `ClassifierConfig.build` makes it: `preprocessing`, a nested model
            `backbone` that ends in global average pooling, and heads that begin with `HEAD_dense`.
        images: (N, H, W, C), as the model takes them.
        head: name of the head.
        class_index: None: the last one. With a single logit 1 is the class of positive logits, 0 the other one.
        batch_size: images at once.

    Returns:
        (N, H, W) float32 of 0..1, each image's hottest place 1; all 0 where there is no evidence.
    """
    features_of, head_of = _split(model, head)
    starts = range(0, len(images), batch_size)
    parts = [_heat(features_of, head_of, images[start : start + batch_size], class_index) for start in starts]
    return np.concatenate(parts) if parts else np.zeros(images.shape[:3], np.float32)


def _split(model: "keras.Model", head: str) -> tuple["keras.Model", "keras.Model"]:
    """Images -> (last features (n, h, w, K), pooled (n, K)); and pooled -> logits of the head."""
    import keras

    backbone = model.get_layer(BACKBONE)
    inner = keras.Model(backbone.input, [backbone.layers[-1].input, backbone.output])
    features_of = keras.Model(model.input, inner(model.get_layer(PREPROCESSING)(model.input)))
    return features_of, keras.Model(model.get_layer(f"{head}_dense").input, model.output[head])


def _heat(features_of: "keras.Model", head_of: "keras.Model", images: np.ndarray, class_index: int | None) -> np.ndarray:
    """(n, H, W) heat of a batch."""
    import keras

    features, pooled = (np.asarray(part, np.float32) for part in features_of.predict_on_batch(images))
    gradient = _gradient(head_of, pooled, class_index)
    heat = np.maximum(np.einsum("nhwk,nk->nhw", features, gradient), 0)
    heat /= np.where(heat.max(axis=(1, 2), keepdims=True) > 0, heat.max(axis=(1, 2), keepdims=True), 1)
    resized = keras.ops.image.resize(heat[..., None], images.shape[1:3], interpolation="bilinear")
    large = np.asarray(keras.ops.convert_to_numpy(resized))[..., 0]
    highest = large.max(axis=(1, 2), keepdims=True)
    return np.clip(large / np.where(highest > 0, highest, 1), 0, 1).astype(np.float32)


def _gradient(head_of: "keras.Model", pooled: np.ndarray, class_index: int | None) -> np.ndarray:
    """Gradient of each image's logit by its pooled features, (n, K) float32, in inference mode."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        given = tf.constant(pooled)
        with tf.GradientTape() as tape:
            tape.watch(given)
            total = _total(head_of(given, training=False), class_index)
        return np.asarray(tape.gradient(total, given))
    if backend == "jax":
        import jax

        def total_of(given: Any) -> Any:
            return _total(head_of(given, training=False), class_index)

        return np.asarray(jax.grad(total_of)(pooled))
    raise UserError(f"KERAS_BACKEND={backend}: Grad-CAM needs tensorflow or jax")


def _total(logits: Any, class_index: int | None) -> Any:
    """The class's logit, summed over the images: each depends on its own features alone."""
    import keras

    outputs = logits.shape[-1]
    if outputs == 1:
        return keras.ops.sum(logits) * (-1.0 if class_index == 0 else 1.0)
    return keras.ops.sum(logits[:, outputs - 1 if class_index is None else class_index])
