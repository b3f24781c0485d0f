"""Estimates of where the nats went: pure functions of a trained model and data, in chunks."""

from vaenb.measure.bounds import Spent, iw_nll, layer_posteriors, nats, posteriors
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
from vaenb.measure.information import Information, active_units, information, log_aggregate
from vaenb.measure.nearest import bernoulli_floor, memorised, nearest

__all__ = ["Information", "Spent", "active_units", "bernoulli_floor", "convergence"]
__all__ += ["feature_extractor", "features", "frechet", "information", "iw_nll"]
__all__ += ["layer_posteriors", "log_aggregate", "memorised", "mse", "nats", "nearest"]
__all__ += ["posteriors", "psnr", "reconstructions", "samples"]
