"""Networks, posteriors, likelihoods: plain modules that turn a batch into distortion and rates."""

from vaenb.models.conv import VAE, Classifier, Nats, small_vae
from vaenb.models.discrete import (
    BitwiseCategorical,
    Categorical,
    DiscretisedGaussian,
    DiscretisedLogistic,
    LogisticMixture,
    discretised_gaussian,
    grey_levels,
)
from vaenb.models.latents import Gaussian, standard_normal_log_prob
from vaenb.models.likelihoods import (
    Bernoulli,
    ConstantGaussian,
    OptimalGaussian,
    PerImageGaussian,
    PerPixelGaussian,
    SharedGaussian,
    StudentT,
    UnitGaussian,
    soft_clip,
)
from vaenb.models.mlp import cnn_vae, mlp_vae

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
    "cnn_vae",
    "discretised_gaussian",
    "grey_levels",
    "mlp_vae",
    "small_vae",
    "soft_clip",
    "standard_normal_log_prob",
]
