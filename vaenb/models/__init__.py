"""Networks, posteriors, likelihoods: plain modules that turn a batch into distortion and rates."""

from vaenb.models.conv import VAE, Classifier, Nats, small_vae
from vaenb.models.latents import Gaussian, standard_normal_log_prob
from vaenb.models.likelihoods import (
    Bernoulli,
    BitwiseCategorical,
    Categorical,
    ConstantGaussian,
    DiscretisedGaussian,
    DiscretisedLogistic,
    LogisticMixture,
    OptimalGaussian,
    PerImageGaussian,
    PerPixelGaussian,
    SharedGaussian,
    StudentT,
    UnitGaussian,
    discretised_gaussian,
    grey_levels,
    soft_clip,
)

__all__ = [
    "VAE",
    "Bernoulli",
    "BitwiseCategorical",
    "Categorical",
    "Classifier",
    "ConstantGaussian",
    "DiscretisedGaussian",
    "DiscretisedLogistic",
    "Gaussian",
    "LogisticMixture",
    "Nats",
    "OptimalGaussian",
    "PerImageGaussian",
    "PerPixelGaussian",
    "SharedGaussian",
    "StudentT",
    "UnitGaussian",
    "discretised_gaussian",
    "grey_levels",
    "small_vae",
    "soft_clip",
    "standard_normal_log_prob",
]
