"""Is a cost linear? Lines and powers through measured points."""

import numpy as np

BENT = 0.15  # A point that is further off the line through the smaller ones.
FEWEST = 3  # points of a line from which the next one may bend


def line(x, y):
    """Returns slope and intercept of the line with the least relative residuals.

    The sum of `((slope x + intercept - y) / y)²` is the least one: small points count
    as much as large ones.

    Args:
        x: float `(n,)`, n >= 2.
        y: float `(n,)`, > 0.
    """
    y = np.asarray(y, float)
    slope, intercept = np.polyfit(np.asarray(x, float), y, 1, w=1.0 / y)
    return float(slope), float(intercept)


def bend(x, y):
    """Returns the first point off the line through the smaller ones.

    Args:
        x: float `(n,)`, ascending.
        y: float `(n,)`, > 0.

    Returns:
        None, or dict of `x`, and `off`: y divided by what the line says, minus 1.
    """
    for count in range(FEWEST, len(x)):
        slope, intercept = line(x[:count], y[:count])
        off = y[count] / (slope * x[count] + intercept) - 1.0
        if abs(off) > BENT:
            return {"x": x[count], "off": float(off)}
    return None


def fitted(x, y):
    """Returns what the JSON says of a curve's line, its residuals and its power.

    Returns:
        Dict of `slope`, `intercept`, `largest_relative_residual`; `exponent`, the slope
        of the line of logarithms; and `bend`.
    """
    slope, intercept = line(x, y)
    residuals = [(slope * a + intercept) / b - 1.0 for a, b in zip(x, y, strict=True)]
    return {
        "slope": slope,
        "intercept": intercept,
        "largest_relative_residual": float(np.abs(residuals).max()),
        "exponent": float(np.polyfit(np.log(x), np.log(y), 1)[0]),
        "bend": bend(x, y),
    }
