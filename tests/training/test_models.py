import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nbgrad import functional
from nbgrad.autograd.tensor import Tensor
from nbgrad.training import models
from nbgrad.training.models import MODELS, Recipe

RECIPE = Recipe(1, 10, 1e-3, dropout=0.3, input_dropout=0.2)
FLOATS = st.floats(-30, 30, width=32)


def build(name, features=12, classes=4, seed=0):
    return MODELS[name].build(features, classes, RECIPE, np.random.default_rng(seed))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_computes_scores_a_loss_and_its_gradients(name):
    net = build(name)
    x = np.random.default_rng(1).random((6, 12), np.float32)
    scores = net(Tensor(x))
    assert scores.shape == (6, 4) and scores.dtype == np.float32
    loss = MODELS[name].loss(scores, np.array([0, 1, 2, 3, 0, 1]))
    assert loss.shape == () and loss.item() > 0
    loss.backward()
    for parameter in net.parameters():
        assert parameter.grad.shape == parameter.shape
        assert np.isfinite(parameter.grad.numpy()).all() and (parameter.grad.numpy() != 0).any()


@pytest.mark.parametrize("name", MODELS)
def test_a_step_against_the_gradient_lowers_the_loss_as_the_gradient_says(name):
    net = build(name).eval()
    x, labels = np.random.default_rng(1).random((6, 12), np.float32), np.array([0, 1, 2, 3, 0, 1])

    def loss():
        return MODELS[name].loss(net(Tensor(x)), labels)

    before = loss()
    before.backward()
    gradients = [parameter.grad.numpy().astype(float) for parameter in net.parameters()]
    length = np.sqrt(sum((g**2).sum() for g in gradients))
    step = 1e-2 / length
    with models.no_grad():
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter -= Tensor((step * gradient).astype(np.float32))
    assert before.item() - loss().item() == pytest.approx(step * length**2, rel=0.05)


def test_the_same_seed_builds_the_same_network():
    for name in MODELS:
        one, two, other = (build(name, seed=seed).state_dict() for seed in (3, 3, 4))
        assert all(np.array_equal(one[key], two[key]) for key in one)
        assert any(not np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", MODELS)
@given(scores=hnp.arrays(np.float32, (3, 5), elements=st.floats(-1e4, 1e4, width=32)))
@settings(max_examples=30)
def test_probabilities_sum_to_one_and_keep_the_order(name, scores):
    given_scores = scores.copy()
    p = MODELS[name].probabilities(scores)
    np.testing.assert_array_equal(scores, given_scores)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    for row, q in zip(scores, p, strict=True):
        assert (np.diff(q[np.argsort(row)]) >= 0).all()


def test_one_vs_rest_probabilities_are_normalised_sigmoids():
    scores = np.array([[0.5, -1.0, 2.0]])
    sigmoid = 1 / (1 + np.exp(-scores))
    np.testing.assert_allclose(MODELS["logistic"].probabilities(scores), sigmoid / sigmoid.sum(), rtol=1e-12)


@given(hnp.arrays(np.float64, (4, 2), elements=FLOATS), hnp.arrays(np.int64, 4, elements=st.integers(0, 1)))
@settings(max_examples=60)
def test_two_class_softmax_is_logistic_regression(scores, labels):
    """softmax((s0, s1))₁ = σ(s1 - s0): the same loss, and the same gradient of the scores' difference."""
    two, difference = (
        Tensor(scores, requires_grad=True),
        Tensor(scores[:, 1] - scores[:, 0], requires_grad=True),
    )
    softmax = functional.cross_entropy(two, labels)
    logistic = functional.binary_cross_entropy_with_logits(difference, labels.astype(float))
    assert softmax.item() == pytest.approx(logistic.item(), rel=1e-12, abs=1e-300)
    softmax.backward()
    logistic.backward()
    np.testing.assert_allclose(two.grad.numpy()[:, 1], difference.grad.numpy(), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(two.grad.numpy()[:, 0], -difference.grad.numpy(), rtol=1e-9, atol=1e-300)
    one_vs_rest = MODELS["softmax"].probabilities(scores)[:, 1]
    np.testing.assert_allclose(one_vs_rest, functional.sigmoid(difference).numpy(), rtol=1e-12)


def test_the_logistic_losses_are_the_formulas_of_each_class_against_the_rest():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    y = np.array([[label == k for k in range(3)] for label in labels], float)
    sigmoid = 1 / (1 + np.exp(-scores))
    squared = np.mean([np.sum((sigmoid[:, k] - y[:, k]) ** 2) / 5 for k in range(3)])
    entropy = -np.mean(y * np.log(sigmoid) + (1 - y) * np.log(1 - sigmoid))
    assert MODELS["logistic-mse"].loss(Tensor(scores), labels).item() == pytest.approx(squared, rel=1e-12)
    assert MODELS["logistic"].loss(Tensor(scores), labels).item() == pytest.approx(entropy, rel=1e-12)


def test_scores_do_not_depend_on_how_many_images_are_given_at_once():
    net = build("mlp", 20, 10)
    images = np.random.default_rng(0).integers(0, 17, (2001, 5, 4), dtype=np.uint8)
    scores = models.score(net, images, 16)
    assert scores.shape == (2001, 10)
    for at in (0, 999, 1000, 2000):
        np.testing.assert_allclose(scores[at], models.score(net, images[at : at + 1], 16)[0], rtol=1e-4, atol=1e-5)
    white = models.score(net, np.full((1, 5, 4), 255, np.uint8), 255)  # white is 1 on every scale
    np.testing.assert_array_equal(white, models.score(net, np.full((1, 5, 4), 16, np.uint8), 16))


DESCRIPTION = {
    "model": "mlp",
    "dataset": "digits",
    "height": 5,
    "width": 4,
    "max_value": 16,
    "num_classes": 10,
}


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_gives_the_same_scores(tmp_path, name):
    net = build(name, 20, 10)
    models.save_model(tmp_path, net, DESCRIPTION | {"model": name})
    loaded, description = models.load_model(tmp_path)
    images = np.random.default_rng(0).integers(0, 17, (7, 5, 4), dtype=np.uint8)
    np.testing.assert_array_equal(models.score(loaded, images, 16), models.score(net, images, 16))
    assert {key: description[key] for key in DESCRIPTION} == DESCRIPTION | {"model": name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "transformer"}, "model: expected one of softmax, .*, got 'transformer'"),
        ({"model": ["mlp"]}, "model: expected"),
        ({"dataset": None}, "dataset: expected one of digits, mnist, got 'None'"),
        ({"height": 10**9}, "height: expected 1..200, got '1000000000'"),
        ({"height": True}, "height: expected"),
        ({"width": 4.0}, "width: expected"),
        ({"max_value": 0}, "max_value: expected"),
        ({"num_classes": 1}, "num_classes: expected"),
        (
            {"num_classes": 11},
            r"6\.weight|7\.weight: expected float32 of shape \(11, 256\), got float32 of shape",
        ),
        ({"model": "softmax"}, "array '.*' is (not expected|missing)"),
        ({"weights_sha256": "0" * 64}, "weights_sha256: expected"),
    ],
)
def test_a_forged_description_is_refused(tmp_path, change, message):
    models.save_model(tmp_path, build("mlp", 20, 10), DESCRIPTION)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        models.load_model(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[" * 50_000, "[]", "3", "\xff", '{"model": "mlp"}'])
def test_a_description_that_is_none_is_refused(tmp_path, text):
    models.save_model(tmp_path, build("mlp", 20, 10), DESCRIPTION)
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"model\.json"):
        models.load_model(tmp_path)


def test_weights_that_are_no_numbers_or_missing_are_refused(tmp_path):
    net = build("softmax", 20, 10)
    description = DESCRIPTION | {"model": "softmax"}
    next(iter(net.parameters())).numpy()[3, 2] = np.nan
    models.save_model(tmp_path, net, description)
    with pytest.raises(ValueError, match="weight: expected finite values"):
        models.load_model(tmp_path)
    (tmp_path / "model.npz").unlink()
    with pytest.raises(FileNotFoundError):
        models.load_model(tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(ValueError, match=r"expected the folder of a trained model, got no model\.json"):
        models.load_model(tmp_path)
