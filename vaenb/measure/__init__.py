"""Estimates of where the nats went: pure functions of a trained model and data, in chunks."""

from vaenb.measure.bounds import Spent, iw_nll, nats, posteriors
from vaenb.measure.convergence import convergence
from vaenb.measure.fidelity import (
    feature_extractor,
    features,
    frechet,
    mse,
    psnr,
    reconstructions,
    samples,
)
from vaenb.measure.information import Information, active_units, information

__all__ = ["Information", "Spent", "active_units", "convergence", "feature_extractor", "features"]
__all__ += ["frechet", "information", "iw_nll", "mse", "nats", "posteriors", "psnr"]
__all__ += ["reconstructions", "samples"]
