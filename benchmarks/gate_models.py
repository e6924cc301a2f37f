"""The Keras models of the release gate's tasks."""

import keras

layers = keras.layers


def dense(inputs, units, outputs, activation="relu", norm=None, dropout=0.0, last=None):
    """Returns a builder of a multi-layer perceptron."""

    def build():
        made = [keras.Input((inputs,))]
        for width in units:
            made.append(layers.Dense(width))
            if norm is not None:
                made.append(norm())
            made.append(layers.Activation(activation))
            if dropout:
                made.append(layers.Dropout(dropout))
        return keras.Sequential([*made, layers.Dense(outputs, last)])

    return build


def convolutional():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def residual():
    inputs = keras.Input((14, 14, 1))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for stride in (2, 1):
        skip = x
        x = layers.Conv2D(16, 3, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        if stride == 2:
            skip = layers.Conv2D(16, 1, 2, use_bias=False)(skip)
        x = layers.ReLU()(layers.Add()([x, skip]))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


def separable():
    return keras.Sequential(
        [
            keras.Input((14, 14, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.SeparableConv2D(32, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.SeparableConv2D(32, 3, 2, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(48),
        ]
    )


def small_convolutional():
    return keras.Sequential(
        [
            keras.Input((14, 14, 1)),
            layers.Conv2D(16, 3, 2, activation="elu"),
            layers.Conv2D(32, 3, 2, activation="elu"),
            layers.Flatten(),
            layers.Dense(64, activation="elu"),
            layers.Dense(48),
        ]
    )


def convolutional_autoencoder():
    return keras.Sequential(
        [
            keras.Input((14, 14, 1)),
            layers.Conv2D(8, 3, 2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(16),
            layers.Dense(7 * 7 * 8, activation="relu"),
            layers.Reshape((7, 7, 8)),
            layers.Conv2DTranspose(8, 3, 2, padding="same", activation="relu"),
            layers.Conv2D(1, 3, padding="same"),
        ]
    )


def recurrent(cell, width, units, symbols):
    def build():
        return keras.Sequential(
            [
                keras.Input((None,), dtype="int32"),
                layers.Embedding(symbols, width),
                cell(units, return_sequences=True),
                layers.Dense(symbols),
            ]
        )

    return build


def transformer(symbols, length, width=32, blocks=2):
    """Returns a builder of a causal transformer with learned positions."""

    def build():
        inputs = keras.Input((length,), dtype="int32")
        x = layers.Embedding(symbols, width)(inputs)
        places = layers.Embedding(length, width)
        x = x + places(keras.ops.arange(length))
        for _ in range(blocks):
            normal = layers.LayerNormalization()(x)
            attended = layers.MultiHeadAttention(4, width // 4)(
                normal, normal, use_causal_mask=True
            )
            x = x + attended
            inner = layers.Dense(2 * width, "gelu")(layers.LayerNormalization()(x))
            x = x + layers.Dense(width)(inner)
        return keras.Model(
            inputs, layers.Dense(symbols)(layers.LayerNormalization()(x))
        )

    return build


def neural_ngram(symbols, length):
    def build():
        return keras.Sequential(
            [
                keras.Input((length,), dtype="int32"),
                layers.Embedding(symbols, 16),
                layers.Flatten(),
                layers.Dense(128, "tanh"),
                layers.Dense(symbols),
            ]
        )

    return build


def bag_of_words(outputs):
    return keras.Sequential(
        [
            keras.Input((16,), dtype="int32"),
            layers.Embedding(2_000, 32),
            layers.GlobalAveragePooling1D(),
            layers.Dense(32, "relu"),
            layers.Dense(outputs),
        ]
    )


def convolved_words(outputs):
    return keras.Sequential(
        [
            keras.Input((16,), dtype="int32"),
            layers.Embedding(2_000, 24),
            layers.Conv1D(32, 3, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(outputs),
        ]
    )


def forecasting_cell():
    return keras.Sequential(
        [
            keras.Input((72,)),
            layers.Reshape((24, 3)),
            layers.LSTM(32),
            layers.Dense(24),
        ]
    )


def residual_forecast():
    """Returns a small N-BEATS: blocks that explain the past away."""
    past = inputs = keras.Input((72,))
    forecast = None
    for _ in range(3):
        x = layers.Dense(64, "relu")(layers.Dense(64, "relu")(past))
        past = layers.Subtract()([past, layers.Dense(72)(x)])
        part = layers.Dense(24)(x)
        forecast = part if forecast is None else layers.Add()([forecast, part])
    return keras.Model(inputs, forecast)
