"""Estimates of where the nats went: pure functions of a trained model and data, in chunks."""

from vaenb.measure.bounds import Spent, iw_nll, layer_posteriors, nats, posteriors
from vaenb.measure.chunks import evaluating
from vaenb.measure.convergence import convergence
from vaenb.measure.fidelity import (
    features,
    frechet,
    inception_features,
    logits,
    mse,
    psnr,
    reconstructions,
    samples,
)
from vaenb.measure.information import Information, active_units, information, log_aggregate
from vaenb.measure.labels import accuracy_bound, label_information
from vaenb.measure.lag import model_posterior_mean
from vaenb.measure.nearest import bernoulli_floor, memorised, nearest
from vaenb.measure.probes import probes
from vaenb.measure.readout import ReadOut, read_out
from vaenb.measure.scores import inception, upper_hull

__all__ = ["Information", "Spent", "accuracy_bound", "active_units", "bernoulli_floor"]
__all__ += ["convergence", "evaluating", "feature_extractor", "features", "frechet", "inception"]
__all__ += ["information", "iw_nll", "label_information", "layer_posteriors", "log_aggregate"]
__all__ += ["logits", "memorised", "model_posterior_mean", "mse", "nats", "nearest"]
__all__ += ["ReadOut", "read_out"]
__all__ += ["posteriors", "probes", "psnr", "reconstructions", "samples", "upper_hull"]
