"""Networks, posteriors, likelihoods: plain modules that turn a batch into distortion and rates."""

from vaenb.models.classifiers import augment, densenet121, digit_net, resnet18, wide_resnet
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
from vaenb.models.dueling import (
    AUXILIARIES,
    auxiliary,
    conv_decoder,
    dueling_vae,
    full_encoder,
    semantic_classifier,
)
from vaenb.models.hierarchies import Hierarchy, ghvae, lvae
from vaenb.models.latents import FullGaussian, Gaussian, standard_normal_log_prob
from vaenb.models.likelihoods import (
    Bernoulli,
    ConstantGaussian,
    LinearGaussian,
    OptimalGaussian,
    PerImageGaussian,
    PerPixelGaussian,
    SharedGaussian,
    StudentT,
    UnitGaussian,
    soft_clip,
)
from vaenb.models.mlp import cnn_vae, mlp_vae
from vaenb.models.pixelcnn import PixelCNN, pixel_cnn, pixel_vae, resnet_encoder
from vaenb.models.shifted import ShiftedPixelCNN, shifted_pixel_cnn
from vaenb.models.text import LanguageModel, TextVAE, language_model, text_vae
