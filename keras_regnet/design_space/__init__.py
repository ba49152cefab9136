"""The paper's method: spaces of networks, samples of them, statistics.

No Keras here.
"""

from keras_regnet.design_space.comparisons import compare
from keras_regnet.design_space.comparisons import Comparison
from keras_regnet.design_space.names import list_spaces
from keras_regnet.design_space.names import space
from keras_regnet.design_space.sampling import Acceptance
from keras_regnet.design_space.sampling import Sample
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
    "Comparison",
    "Sample",
    "Space",
    "best_of_n",
    "bootstrap_best",
    "compare",
    "edf",
    "edf_band",
    "fit_complexity",
    "list_spaces",
    "normalized_edf",
    "space",
    "trends",
]
