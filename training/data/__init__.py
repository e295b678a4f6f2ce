"""Loads pictures to train on, by name, from a folder or from the Hub, always on the 8-bit grid.

Call `load_data`; the other modules read the three kinds of source.
"""

from training.data.config import DataConfig
from training.data.load import load_data
from training.data.pictures import DataError, DataSet, Pictures

__all__ = ["DataConfig", "DataError", "DataSet", "Pictures", "load_data"]
