"""Pictures to train on: by name, from a folder, or from the Hub, always on the 8-bit grid.

`load_data` is the way in; the rest of the package reads the three kinds of source.
"""

from training.data.config import DataConfig
from training.data.load import load_data
from training.data.pictures import DataError, DataSet, Pictures

__all__ = ["DataConfig", "DataError", "DataSet", "Pictures", "load_data"]
