"""Keras models that are not the toolkit's."""


def tiny(input_shape, num_classes, filters=2):
    """Two convolutions, a pooling that is undone and dropout, of the rank that the shape has."""
    import keras

    rank = len(input_shape) - 1

    def layer(kind, *arguments, **named):
        return getattr(keras.layers, f"{kind}{rank}D")(*arguments, **named)

    inputs = keras.Input(input_shape)
    features = layer("Conv", filters, 3, padding="same", activation="elu", name="conv1")(inputs)
    features = layer("UpSampling", 2)(layer("AveragePooling", 2)(features))
    features = keras.layers.Dropout(0.1)(features)
    return keras.Model(inputs, layer("Conv", num_classes, 1, name="conv2")(features), name="tiny")


def softmaxed(input_shape, classes):
    """One that ends in a softmax."""
    import keras

    model = tiny(input_shape, classes)
    return keras.Model(model.input, keras.layers.Softmax()(model.output))


def renamed(shape, outputs):
    """One whose arguments are called otherwise."""


def picky(input_shape, num_classes):
    """One that refuses its arguments."""
    raise ValueError(f"no model for {num_classes} classes,\nand none for {input_shape}")


def half_as_large(input_shape, num_classes):
    """One with too few outputs."""
    return tiny(input_shape, num_classes // 2)


def no_model(input_shape, num_classes):
    """Something else than a model."""
    return [input_shape, num_classes]


NOT_CALLABLE = 3
