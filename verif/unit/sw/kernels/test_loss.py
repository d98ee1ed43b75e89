"""Softmax cross-entropy where it is delicate: large logits, infinities, NaN, layouts."""

import numpy as np
import pytest

from verif.support.kernel_bench import normal, run_softmax

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("logits", "label", "loss", "gradient"),
    [
        ((1e8, 1e8), 0, 0.693147, (-0.5, 0.5)),
        ((10002, 9999), 0, 0.048587, (-0.047426, 0.047426)),
        ((9999, 10002), 0, 3.048587, (-0.952574, 0.952574)),
        ((3e38, 0, 3e38), 2, 0.693147, (0.5, 0, -0.5)),
        ((10, -INF, 9), 0, 0.313262, (-0.268941, 0, 0.268941)),
        ((10, -INF, 9), 2, 1.313262, (0.731059, 0, -0.731059)),
        ((-INF, -5, -INF), 1, 0.0, (0, 0, 0)),
        ((10, -INF, 10), 1, INF, (0.5, -1, 0.5)),
        ((-INF, -INF, -INF), 1, NAN, (NAN, NAN, NAN)),
        ((1, INF, 2), 1, NAN, (NAN, NAN, NAN)),
        ((1, INF, INF), 0, NAN, (NAN, NAN, NAN)),
        ((1, NAN, 2), 0, NAN, (NAN, NAN, NAN)),
    ],
)
def test_a_row(logits, label, loss, gradient):
    dz, mean = run_softmax(np.array([logits], np.float32), np.array([label]))
    assert mean == pytest.approx(loss, abs=1e-6, nan_ok=True)
    np.testing.assert_allclose(dz, [gradient], rtol=0, atol=1e-6)


def test_masked_classes_do_no_harm_to_a_batch():
    z = normal(40, 6, 5, scale=3).astype(np.float32)
    z[:, 3] = -INF
    labels = np.array([0, 1, 2, 4, 0, 2])
    dz, mean = run_softmax(z, labels)
    kept = [0, 1, 2, 4]
    places = np.array([kept.index(label) for label in labels])
    dz_kept, mean_kept = run_softmax(np.ascontiguousarray(z[:, kept]), places)
    assert mean == pytest.approx(mean_kept, abs=1e-6)
    assert (dz[:, 3] == 0).all()
    np.testing.assert_allclose(dz[:, kept], dz_kept, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(8, 10), (10, 7), (3, 2)])
def test_the_layout_of_the_labels_changes_nothing_but_the_order_of_the_sum(shape):
    z = normal(41, *shape, scale=3).astype(np.float32)
    labels = np.random.default_rng(42).integers(0, shape[1], shape[0])
    (dz, mean), (other_dz, other_mean) = (
        run_softmax(z, labels, packed=packed) for packed in (True, False)
    )
    np.testing.assert_array_equal(dz, other_dz)
    assert mean == pytest.approx(other_mean, rel=1e-6)
