"""The handwritten digits that ship with scikit-learn (UCI ML, Alpaydin and Kaynak 1998)."""

from dataclasses import dataclass

import numpy as np

from tegula_golden.array_types import Floats, Integers

__all__ = ["CLASSES", "INPUTS", "Samples", "digits"]

INPUTS, CLASSES = 64, 10
"""Pixels of a digit, and how many digits there are."""

_TEST_SAMPLES = 360
_LARGEST_PIXEL = 16


@dataclass(frozen=True)
class Samples:
    """Samples, of which `len` gives the number.

    Attributes
    ----------
    inputs : float32, shape (count, inputs)
    labels : int, shape (count,)
        Numbers of their classes.
    """

    inputs: Floats
    labels: Integers

    def __len__(self) -> int:
        return len(self.labels)


def digits(seed: int) -> tuple[Samples, Samples]:
    """1437 samples to train on and 360 to test: 8 x 8 pixels of 0 to 1, ten classes.

    Pixels are sixteenths, exact in every format of the tile.

    Parameters
    ----------
    seed
        Of the split, in which the classes have equal shares.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    inputs = (inputs / _LARGEST_PIXEL).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        inputs, labels, test_size=_TEST_SAMPLES, random_state=seed, stratify=labels
    )
    return Samples(train_x, train_y), Samples(test_x, test_y)
