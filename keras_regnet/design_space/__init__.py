"""The paper's method: spaces of networks, samples of them, statistics.

No Keras here.
"""

from keras_regnet.design_space.bands import best_of_n_band
from keras_regnet.design_space.bands import edf_confidence_band
from keras_regnet.design_space.bands import SearchBand
from keras_regnet.design_space.comparisons import compare
from keras_regnet.design_space.comparisons import Comparison
from keras_regnet.design_space.examples import imagenet_population
from keras_regnet.design_space.fit import e_fit
from keras_regnet.design_space.fit import fit_regnet
from keras_regnet.design_space.fit import RegNetFit
from keras_regnet.design_space.picking import best_networks
from keras_regnet.design_space.picking import Candidate
from keras_regnet.design_space.picking import dunnett_quantile
from keras_regnet.design_space.picking import Pick
from keras_regnet.design_space.picking import pick
from keras_regnet.design_space.proposals import Proposals
from keras_regnet.design_space.proposals import propose
from keras_regnet.design_space.registry import list_spaces
from keras_regnet.design_space.registry import space
from keras_regnet.design_space.sample_size import networks_needed
from keras_regnet.design_space.sample_size import power
from keras_regnet.design_space.sampling import Acceptance
from keras_regnet.design_space.sampling import Sample
from keras_regnet.design_space.scaling import scale
from keras_regnet.design_space.scaling import ScaledNetwork
from keras_regnet.design_space.spaces import Space
from keras_regnet.design_space.statistics import best_of_n
from keras_regnet.design_space.statistics import bootstrap_best
from keras_regnet.design_space.statistics import edf
from keras_regnet.design_space.statistics import edf_band
from keras_regnet.design_space.statistics import fit_complexity
from keras_regnet.design_space.statistics import normalized_edf
from keras_regnet.design_space.statistics import trends

__all__ = [
    "Acceptance",
    "Candidate",
    "Comparison",
    "Pick",
    "Proposals",
    "RegNetFit",
    "Sample",
    "ScaledNetwork",
    "SearchBand",
    "Space",
    "best_networks",
    "best_of_n",
    "best_of_n_band",
    "bootstrap_best",
    "compare",
    "dunnett_quantile",
    "e_fit",
    "edf",
    "edf_band",
    "edf_confidence_band",
    "fit_complexity",
    "fit_regnet",
    "imagenet_population",
    "list_spaces",
    "networks_needed",
    "normalized_edf",
    "pick",
    "power",
    "propose",
    "scale",
    "space",
    "trends",
]
