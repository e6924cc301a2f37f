"""Lines through measured points, against points that lie on known ones."""

import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def line_fits(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import line_fits

    return line_fits


def test_points_of_a_line_give_it_back_and_do_not_bend(line_fits):
    x = [1, 2, 4, 8, 16]
    fit = line_fits.fitted(x, [3 * value + 5 for value in x])
    assert fit["slope"] == pytest.approx(3.0)
    assert fit["intercept"] == pytest.approx(5.0)
    assert fit["largest_relative_residual"] == pytest.approx(0.0, abs=1e-9)
    assert fit["bend"] is None


def test_a_power_has_its_exponent_and_bends(line_fits):
    # The line of least relative residuals through (1, 1), (2, 4), (4, 16) is, by the
    # normal equations in fractions, (378 x - 280) / 101: 2744 / 101 at 8, not 64.
    fit = line_fits.fitted([1, 2, 4, 8], [1, 4, 16, 64])
    assert fit["exponent"] == pytest.approx(2.0)
    assert fit["bend"]["x"] == 8
    assert fit["bend"]["off"] == pytest.approx(64 * 101 / 2744 - 1)


def test_residuals_are_relative(line_fits):
    # A constant c through 1 and 3 has the least ((c - 1) / 1)² + ((c - 3) / 3)² at
    # c = (1 + 1/3) / (1 + 1/9) = 1.2; the slope 0 is what both points at x = 0, 0
    # around a third, far one on the same constant leave.
    slope, intercept = line_fits.line([0, 0, 1e9], [1, 3, 1.2])
    assert intercept == pytest.approx(1.2)
    assert slope == pytest.approx(0.0, abs=1e-9)
