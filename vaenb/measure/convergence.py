"""Whether a training had converged, by the last part of its history."""

import numpy as np

from vaenb.errors import VaenbError


def convergence(step, loss) -> dict:
    """Whether a loss still moved over the last tenth of its history (at least its last 25 points).

    A line is fitted to that window. ``slope`` is its slope in loss units a step, ``noise`` the
    standard deviation of the residuals (two degrees of freedom spent), ``drift`` |slope| times the
    window's span, ``points`` their number. ``converged`` says that the drift is below the noise,
    or below three of its own standard errors: on a flat loss with independent noise the drift of
    n points has a standard deviation of noise x (12 / n)^(1/2), so that without the second clause
    a window of 25 points would call one in six flat losses moving; with it one in 150. From 108
    points on the noise alone decides: log often. A drift of less than a thousandth of a nat is
    rest, whatever the noise. Values that are not finite, and fewer than 3 points, are not
    converged (and the numbers NaN).

    Raises VaenbError if ``step`` and ``loss`` are not two equally long sequences.
    """
    step, loss = np.asarray(step, float), np.asarray(loss, float)
    if step.ndim != 1 or step.shape != loss.shape:
        raise VaenbError(f"a history has {step.shape} steps and {loss.shape} losses: not equal")
    window = slice(-max(25, len(step) // 10), None)
    t, y = step[window], loss[window]
    if len(t) < 3 or not (np.isfinite(t).all() and np.isfinite(y).all()) or np.ptp(t) == 0:
        return {"slope": np.nan, "noise": np.nan, "drift": np.nan, "points": len(t),
                "converged": False}
    t = t - t.mean()
    slope = (t @ (y - y.mean())) / (t @ t)
    noise = np.sqrt(np.square(y - y.mean() - slope * t).sum() / (len(t) - 2))
    drift = abs(slope) * np.ptp(t)
    error = noise / np.sqrt(t @ t) * np.ptp(t)  # of the drift
    rest = bool(drift <= max(noise, 3 * error, 1e-3) + 1e-12 * abs(y.mean()))  # a constant rests
    return {"slope": float(slope), "noise": float(noise), "drift": float(drift),
            "points": len(t), "converged": rest}
