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
