"""The task families that MetaAdam is meta-trained on."""

import nets
import numpy as np
import task_data
from family import Quadratics, classification, language, regression, tokens


def training_families():
    """Returns dict of name to `Family`."""
    x28, x14, x7, y = task_data.digits()
    flat7, flat14, flat28 = (x.reshape(len(x), -1) for x in (x7, x14, x28))
    crop = x28[:, 4:24, 4:24].reshape(len(x28), -1)
    watch, activity = task_data.watch_features()
    activities = int(activity.max()) + 1
    text, (said, domain) = task_data.characters(), task_data.words()
    phrases = task_data.words(known=400, part="test")[0].reshape(-1)
    phrases = phrases[phrases > 0]
    symbols = len(task_data.CHARACTERS)
    omniglot = np.load(task_data.folder() / "omniglot28.npz")
    strokes = omniglot["images"][~omniglot["is_evaluation"]].reshape(-1, 28, 28)
    strokes = task_data.pooled(strokes.astype("float32"), 2)[:, 0:14, 0:14]
    alphabet = np.unique(
        np.repeat(omniglot["alphabet"][~omniglot["is_evaluation"]], 20),
        return_inverse=True,
    )[1]
    tx, ty = task_data.teacher(1, 32, 1)
    rx, ry = task_data.teacher(2, 200, 8)
    layers = nets

    def image(x):
        return x[..., None]

    def cnn(channels, outputs, norm=None, stride=2, inputs=1):
        made = []
        for channel in channels:
            made += [layers.conv(inputs, channel, stride=stride, bias=norm is None)]
            made += ([norm(channel)] if norm else []) + [layers.activation()]
            inputs = channel
        return chain(*made, layers.average((1, 2)), layers.dense(inputs, outputs))

    chain = layers.chain
    block = chain(
        layers.layer_norm(24),
        layers.dense(24, 48),
        layers.activation(),
        layers.dense(48, 24),
    )
    conv_block = chain(
        layers.conv(8, 8, bias=False),
        layers.batch_norm(8),
        layers.activation(),
        layers.conv(8, 8, bias=False),
        layers.batch_norm(8),
    )

    def attending(symbols, width, length, blocks, outputs, pool=False):
        return chain(
            layers.embedding(symbols, width),
            layers.positions(length, width),
            *[layers.attention(width, 2, not pool) for _ in range(blocks)],
            layers.layer_norm(width),
            *[layers.average(1)] * pool,
            layers.dense(width, outputs),
        )

    def recurrent(cell, symbols, width, units):
        return chain(
            layers.embedding(symbols, width),
            cell(width, units),
            layers.dense(units, symbols),
        )

    c, r = classification, regression
    mlp, bn, ln = layers.mlp, layers.batch_norm, layers.layer_norm
    made = [
        c("mlp 49-32", mlp([49, 32, 10]), flat7, y, 32),
        c("mlp 49-20x7", mlp([49] + [20] * 7 + [10]), flat7, y, 24),
        c("mlp 52-24x4", mlp([52] + [24] * 4 + [activities]), watch, activity, 64),
        c(
            "mlp 52-24x2 layer norm",
            mlp([52, 24, 24, activities], ln),
            watch,
            activity,
            32,
        ),
        c("mlp 196-32x2 batch norm", mlp([196, 32, 32, 10], bn), flat14, y, 48),
        c("logistic 52", mlp([52, activities]), watch, activity, 32),
        c("logistic 784", mlp([784, 10]), flat28, y, 64, pairs=8),
        c("few rows", mlp([49, 24, 10]), flat7[:400], y[:400], 8),
        c("few rows, deep", mlp([196, 32, 32, 10]), flat14[:600], y[:600], 16),
        c("mlp 784-14", mlp([784, 14, 10]), flat28, y, 8, pairs=8, share=1.5),
        c("mlp 400-24x2", mlp([400, 24, 24, 10]), crop, y, 8),
        c("mlp 196-32, large batch", mlp([196, 32, 10]), flat14, y, 256, pairs=6),
        c("mlp 784-100", mlp([784, 100, 10]), flat28, y, 32, pairs=4, share=2.0),
        c(
            "mlp 784-64x4",
            mlp([784] + [64] * 4 + [10]),
            flat28,
            y,
            32,
            pairs=4,
            share=2.0,
        ),
        c(
            "residual mlp",
            chain(
                layers.dense(52, 24),
                *[layers.residual(block)] * 3,
                ln(24),
                layers.dense(24, activities),
            ),
            watch,
            activity,
            32,
        ),
        c("conv 14", chain(cnn([6, 12], 10)), image(x14), y, 16),
        c("conv 14 batch norm", cnn([8, 8, 16], 10, bn), image(x14), y, 32, pairs=8),
        c(
            "residual conv",
            chain(
                layers.conv(1, 8, stride=2),
                layers.activation(),
                layers.residual(conv_block),
                layers.activation(),
                layers.residual(conv_block),
                layers.average((1, 2)),
                layers.dense(8, 10),
            ),
            image(x14),
            y,
            32,
            pairs=6,
        ),
        c("conv 28", cnn([8, 16, 32], 10), image(x28), y, 32, pairs=4, share=1.5),
        c(
            "omniglot alphabets",
            cnn([8, 16], int(alphabet.max()) + 1, bn),
            image(task_data.standard(strokes)),
            alphabet,
            32,
            pairs=6,
        ),
        r("autoencoder 49", mlp([49, 24, 8, 24, 49]), flat7, None, 32),
        r("autoencoder 196", mlp([196, 32, 8, 32, 196]), 0.3 * flat14, None, 12),
        r(
            "autoencoder strokes",
            mlp([196, 64, 16, 64, 196]),
            strokes.reshape(len(strokes), -1),
            None,
            32,
            pairs=6,
        ),
        r("regression 32", mlp([32, 32, 32, 1]), tx, ty, 64),
        r("regression 200", mlp([200, 48, 8]), rx, ry, 32),
        language("attention 16", attending(symbols, 16, 12, 1, symbols), text, 12, 8),
        language(
            "attention 32",
            attending(symbols, 32, 24, 2, symbols),
            text,
            24,
            8,
            pairs=3,
            share=1.5,
        ),
        language(
            "gru 48",
            recurrent(nets.gru, symbols, 24, 48),
            text,
            20,
            12,
            pairs=3,
            share=1.5,
        ),
        language(
            "lstm 24", recurrent(nets.lstm, symbols, 16, 24), text, 16, 8, pairs=8
        ),
        tokens(
            "words",
            chain(layers.embedding(500, 16), layers.average(1), mlp([16, 24, 7])),
            said,
            domain,
            32,
        ),
        tokens(
            "words, attention",
            attending(500, 16, 12, 1, 7, True),
            said,
            domain,
            16,
            pairs=8,
        ),
        c(
            "tanh 52-48x6",
            mlp([52] + [48] * 6 + [activities]),
            watch,
            activity,
            32,
            pairs=6,
            activation=1,
            share=1.5,
        ),
        c(
            "tanh 400-32x5",
            mlp([400] + [32] * 5 + [10]),
            crop,
            y,
            32,
            pairs=6,
            activation=1,
            share=2.0,
        ),
        c(
            "tanh 196-48x5",
            mlp([196] + [48] * 5 + [10]),
            flat14,
            y,
            24,
            pairs=6,
            activation=1,
            share=2.0,
        ),
        c(
            "tanh, few rows",
            mlp([49] + [32] * 4 + [10]),
            flat7[:600],
            y[:600],
            16,
            activation=1,
            share=1.5,
        ),
        c("mlp 196-40x8", mlp([196] + [40] * 8 + [10]), flat14, y, 128, pairs=3),
        c("mlp 400-48x2 layer norm", mlp([400, 48, 48, 10], ln), crop, y, 96, pairs=4),
        r(
            "autoencoder 784",
            mlp([784, 48, 12, 48, 784]),
            flat28,
            None,
            32,
            pairs=3,
            share=2.0,
        ),
        c(
            "omniglot characters",
            mlp([196, 64, 200]),
            task_data.standard(strokes[:4000].reshape(4000, -1)),
            np.repeat(np.arange(200), 20),
            32,
            pairs=6,
        ),
        language(
            "lstm 48",
            recurrent(nets.lstm, symbols, 24, 48),
            text,
            20,
            16,
            pairs=3,
            share=1.5,
        ),
        language(
            "words, gru",
            chain(layers.embedding(400, 24), nets.gru(24, 32), layers.dense(32, 400)),
            phrases,
            12,
            12,
            pairs=3,
            share=1.5,
        ),
        language(
            "words, causal attention",
            attending(400, 24, 12, 1, 400),
            phrases,
            12,
            12,
            pairs=3,
            share=1.5,
        ),
        Quadratics(),
    ]
    return {family.name: family for family in made}
