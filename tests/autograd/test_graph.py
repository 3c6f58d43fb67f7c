"""plot_graph and to_dot: right numbers, nothing hidden, nothing overlapping, nothing changed."""

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgrad import functional, nn
from nbgrad.autograd.function import Function
from nbgrad.autograd.graph import plot_graph, to_dot
from nbgrad.autograd.layout import layered
from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor, tensor


@pytest.fixture
def slides():
    a, w1, w2, w3, w4 = (tensor(value, requires_grad=True) for value in (2.0, 3.0, 5.0, 7.0, 11.0))
    b = w1 * a
    c = w2 * a
    d = w3 * b + w4 * c
    return {"a": a, "w1": w1, "w2": w2, "w3": w3, "w4": w4, "b": b, "c": c, "d": d, "L": 10 - d}


def mlp():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(20, 30, rng=rng), nn.ReLU(), nn.Linear(30, 5, rng=rng))
    loss = functional.cross_entropy(net(Tensor(rng.random((40, 20), np.float32))), rng.integers(0, 5, 40))
    return loss, dict(net.named_parameters())


def texts(figure):
    """The lines of each box, by its first line; boxes are told apart by their place."""
    (axes,) = figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches if hasattr(patch, "get_boxstyle")]
    out = {}
    for text in axes.texts:
        x, y = axes.transData.transform(text.get_position())
        (box,) = [i for i, b in enumerate(boxes) if b.x0 <= x <= b.x1 and b.y0 <= y <= b.y1]
        out.setdefault(box, []).append(text.get_text())
    return list(out.values())


def test_the_slides_graph(slides):
    boxes = texts(plot_graph(slides["L"], names=slides))
    assert sorted(boxes) == sorted(
        [f"{name}", f"value = {value}", f"grad  = {gradient}"]
        for name, value, gradient in [
            ("a", 2, -76), ("w1", 3, -14), ("w2", 5, -22), ("w3", 7, -6), ("w4", 11, -10), ("b = Mul", 6, -7),
            ("c = Mul", 10, -11), ("Mul", 42, -1), ("Mul", 110, -1), ("d = Add", 152, -1), ("L = Sub", -142,
            1),
        ]
    )  # fmt: skip


def test_a_picture_changes_nothing(slides):
    slides["b"].retain_grad()
    plot_graph(slides["L"])
    to_dot(slides["L"])
    assert all(t.grad is None for t in slides.values())
    slides["L"].backward(retain_graph=True)
    plot_graph(slides["L"])
    assert slides["w1"].grad.item() == -14 and slides["b"].grad.item() == -7
    slides["L"].backward()
    for draw in (plot_graph, to_dot):
        with pytest.raises(RuntimeError, match="retain_graph=True"):
            draw(slides["L"])


def test_wrong_tensors():
    w = tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"one element, as gradients are drawn, got shape \(2,\)"):
        plot_graph(w * 2)
    for draw in (plot_graph, to_dot):
        with pytest.raises(TypeError, match="tensor: expected a Tensor, got float"):
            draw(1.0)
        with pytest.raises(ValueError, match="requires a gradient"):
            draw(tensor(1.0))
    y = w.sum()
    for _ in range(600):
        y = y + 1.0
    with pytest.raises(ValueError, match="at most 500 nodes to draw, got 602; use to_dot"):
        plot_graph(y)
    assert to_dot(y).count("->") == 601


def inside(boxes, figure):
    width, height = figure.get_size_inches() * figure.dpi
    return all(0 <= b.x0 and b.x1 <= width and 0 <= b.y0 and b.y1 <= height for b in boxes)


def test_nothing_overlaps_and_every_text_fits_into_its_box(slides):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    matrix = tensor(np.random.default_rng(0).normal(size=(3, 3)), requires_grad=True)
    h = (matrix @ matrix.T).exp()
    for loss, names in (
        (slides["L"], slides),
        mlp(),
        ((h / h.sum(axis=1, keepdims=True) - matrix).mean(), {}),
    ):
        figure = plot_graph(loss, names=names)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        (axes,) = figure.axes
        boxes = [patch.get_window_extent() for patch in axes.patches if hasattr(patch, "get_boxstyle")]
        assert inside(boxes, figure)
        for i, p in enumerate(boxes):
            assert not any(p.overlaps(q) for q in boxes[:i])
        for text in axes.texts:
            t = text.get_window_extent(canvas.get_renderer())
            assert any(b.x0 <= t.x0 and t.x1 <= b.x1 and b.y0 <= t.y0 and t.y1 <= b.y1 for b in boxes), text.get_text()


def test_large_tensors_are_shown_by_shape_and_norm():
    loss, names = mlp()
    boxes = {box[0]: box[1:] for box in texts(plot_graph(loss, names=names))}
    weight = names["0.weight"]
    loss.backward()
    assert boxes["0.weight"] == [
        "shape   = (30, 20)",
        f"‖value‖ = {np.linalg.norm(weight.numpy()):.4g}",
        f"‖grad‖  = {np.linalg.norm(weight.grad.numpy()):.4g}",
    ]
    x = tensor(np.ones((40, 5)), requires_grad=True)
    boxes = {box[0]: box[1:] for box in texts(plot_graph((x * 2.0 + 1.0).sum()))}
    assert boxes["Mul"][0] == "shape   = (40, 5)" and boxes["Mul"][1] == "value not kept"


def test_names_are_taken_from_locals_and_may_be_anything():
    count, w = 3, tensor([1.0, 2.0], requires_grad=True)
    loss = (count * w).sum()
    assert [box[0] for box in texts(plot_graph(loss, names=locals()))].count("loss = Sum") == 1
    names = {'quote " back \\ slash\nline $x_1$': w}
    plot_graph(loss, names=names).savefig(io.BytesIO(), format="png")
    assert r'n0 [label="quote \" back \\ slash line $x_1$\lvalue = [1. 2.]\lgrad  = [3. 3.]\l"' in to_dot(loss, names=names)


def test_to_dot(slides):
    text = to_dot(slides["L"], names=slides)
    nodes = dict(re.findall(r'^  (n\d+) \[label="(.*?)\\lvalue', text, re.M))
    edges = {(nodes[start], nodes[end]) for start, end in re.findall(r"^  (n\d+) -> (n\d+)$", text, re.M)}
    assert {("w1", "b = Mul"), ("a", "b = Mul"), ("a", "c = Mul"), ("d = Add", "L = Sub")} < edges and len(nodes) == 11
    assert text.startswith("digraph {") and text.endswith("}")
    vector = tensor([1.0, 2.0], requires_grad=True) * 2
    assert "grad" not in to_dot(vector) and "value = [2. 4.]" in to_dot(vector)


def test_graphs_with_functions_of_several_outputs_single_leaves_and_under_no_grad():
    class Split(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0, x * 2.0

        @staticmethod
        def backward(ctx, g, h):
            return g + 2 * h

    x = tensor(3.0, requires_grad=True)
    first, second = Split.apply(x)
    total = first + second
    with no_grad():
        boxes = sorted(texts(plot_graph(total, names={"x": x})))
    assert boxes == [
        ["Add", "value = 9", "grad  = 1"], ["Split"], ["Split[0]", "value = 3", "grad  = 1"],
        ["Split[1]", "value = 6", "grad  = 1"], ["x", "value = 3", "grad  = 3"],
    ]  # fmt: skip
    assert texts(plot_graph(x)) == [["leaf", "value = 3", "grad  = 1"]]


@settings(max_examples=40)
@given(st.integers(2, 14).flatmap(lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=25)))
def test_layouts(pairs):
    boxes = range(max((max(p) for p in pairs), default=0) + 1)
    sizes = {box: (1 + box % 3, 1 + box % 2) for box in boxes}
    edges = sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]})
    at, ways = layered(sizes, edges, gap_x=0.5, gap_y=0.25)
    for p in boxes:
        for q in range(p):
            apart_x = abs(at[p][0] - at[q][0]) - (sizes[p][0] + sizes[q][0]) / 2
            apart_y = abs(at[p][1] - at[q][1]) - (sizes[p][1] + sizes[q][1]) / 2
            assert apart_x > 0.4 or apart_y > 0.2
    for start, end in edges:
        xs = [at[start][0], *(x for x, _ in ways[start, end]), at[end][0]]
        assert xs == sorted(xs) and len(set(xs)) == len(xs)  # always to the right
        for x, y in ways[start, end]:  # and never through another box
            assert not any(abs(x - at[b][0]) < sizes[b][0] / 2 and abs(y - at[b][1]) < sizes[b][1] / 2 for b in boxes)
