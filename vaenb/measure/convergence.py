"""Had the training come to rest?"""

import numpy as np

from vaenb.errors import VaenbError


def convergence(step, loss) -> dict:
    """Whether a loss still moved over the last tenth of its history (at least its last 10 points).

    A line is fitted to that window. ``slope`` is its slope in loss units a step, ``noise`` the
    standard deviation of the residuals (two degrees of freedom spent), ``drift`` |slope| times the
    window's span, and ``converged`` whether the drift is below the noise. Values that are not
    finite, and fewer than 3 points, are not converged (and the numbers NaN). On a flat loss with
    independent noise the drift has a standard deviation of noise x (12 / points)^(1/2): a window
    of 10 points calls a third of flat losses unconverged, one of 50 one in 20. Log often.

    Raises VaenbError if ``step`` and ``loss`` are not two equally long sequences.
    """
    step, loss = np.asarray(step, float), np.asarray(loss, float)
    if step.ndim != 1 or step.shape != loss.shape:
        raise VaenbError(f"a history has {step.shape} steps and {loss.shape} losses: not equal")
    window = slice(-max(10, len(step) // 10), None)
    t, y = step[window], loss[window]
    if len(t) < 3 or not (np.isfinite(t).all() and np.isfinite(y).all()) or np.ptp(t) == 0:
        return {"slope": np.nan, "noise": np.nan, "drift": np.nan, "converged": False}
    t = t - t.mean()
    slope = (t @ (y - y.mean())) / (t @ t)
    noise = np.sqrt(np.square(y - y.mean() - slope * t).sum() / (len(t) - 2))
    drift = abs(slope) * np.ptp(t)
    rest = bool(drift <= noise + 1e-12 * abs(y.mean()))  # a constant loss is at rest
    return {"slope": float(slope), "noise": float(noise), "drift": float(drift), "converged": rest}
