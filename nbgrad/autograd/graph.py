"""Pictures of a tensor's graph: `plot_graph`, a matplotlib Figure, and `to_dot`, text for Graphviz."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nbgrad.autograd.devices import move
from nbgrad.autograd.layout import layered
from nbgrad.autograd.tape import Leaf, Node, propagate
from nbgrad.autograd.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_graph", "to_dot"]

_MOST_NODES = 500  # beyond that nothing is legible
_SHOWN_SIZE = 9  # a larger tensor is shown by its norm
_COLOURS = {"leaf": "#d6e8f7", "operation": "#f0f0f0", "result": "#d9efd3"}


def plot_graph(tensor: Tensor, *, names: Mapping[str, Any] | None = None) -> Figure:
    """Draw how a tensor of one element was computed: operands left, results right, as a matplotlib Figure.

    Each box has a node's operation, its value and, in `grad`, the derivative of `tensor` by it; of tensors
    with more than 9 elements the shape and the Euclidean norms. `names` maps names to tensors
    (`names=locals()` will do: other values are ignored). The gradients come from a pass of its own: no
    `.grad` changes. Constants and tensors that require no gradient are no nodes. Of an intermediate tensor of
    more than 64 elements that nothing holds any more the value is not known.

    RuntimeError where the graph was freed: draw before `backward()`, or after `backward(retain_graph=True)`.
    ValueError for a tensor of several elements, without a graph, or of more than 500 nodes (`to_dot` has no
    limit).

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import nbgrad
    >>> a, w = nbgrad.tensor(2.0, requires_grad=True), nbgrad.tensor(3.0, requires_grad=True)
    >>> b = w * a
    >>> figure = plot_graph(10 - b, names={"a": a, "w": w, "b": b})
    >>> figure.savefig("graph.png")  # doctest: +SKIP
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path

    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor: expected a Tensor, got {type(tensor).__name__}")
    if tensor.numel() != 1:
        raise ValueError(f"tensor: expected one element, as gradients are drawn, got shape {tensor.shape}")
    nodes, edges = _collect(tensor)
    if len(nodes) > _MOST_NODES:
        raise ValueError(
            f"tensor: expected a graph of at most {_MOST_NODES} nodes to draw, got {len(nodes)}; use to_dot"
        )
    labels = _labels(tensor, nodes, names or {})
    # A monospaced font, so the size of a text is known without drawing it: in inches, for 9 points. A
    # character is 0.602 points wide for each point of size; hinting to whole pixels adds up to 5 %.
    size, margin = 9, 0.09
    char, line = 0.635 * size / 72, 1.25 * size / 72
    sizes = {
        node: (max(map(len, text)) * char + 2 * margin, len(text) * line + 2 * margin) for node, text in labels.items()
    }
    at, way_points = layered(sizes, edges, gap_x=0.55, gap_y=0.2)

    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in ((at[n], sizes[n]) for n in nodes)]
    boxes += [(x, y, x, y) for chain in way_points.values() for x, y in chain]
    left, low, right, high = (pick(box[i] for box in boxes) for i, pick in enumerate((min, min, max, max)))
    pad = 0.15
    figure = Figure(figsize=(right - left + 2 * pad, high - low + 2 * pad))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(left - pad, right + pad)
    axes.set_ylim(high + pad, low - pad)  # the first operand on top

    ends = _entries(edges, at, sizes)
    for edge in edges:
        (x, y), (w, _) = at[edge[0]], sizes[edge[0]]
        vertices = [(x + w / 2, y)]
        for point in [*way_points[edge], ends[edge]]:
            (x, y), middle = vertices[-1], (vertices[-1][0] + point[0]) / 2
            vertices += [(middle, y), (middle, point[1]), point]
        path = Path(vertices, [Path.MOVETO] + [Path.CURVE4] * (len(vertices) - 1))
        axes.add_patch(
            FancyArrowPatch(
                path=path,
                arrowstyle="-|>",
                mutation_scale=9,
                linewidth=0.9,
                color="#555555",
                shrinkA=0,
                shrinkB=0,
            )
        )
    for node, text in labels.items():
        (x, y), (w, h) = at[node], sizes[node]
        kind = "result" if node is nodes[-1] else "leaf" if isinstance(node, Leaf) else "operation"
        axes.add_patch(
            FancyBboxPatch(
                (x - w / 2, y - h / 2),
                w,
                h,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=_COLOURS[kind],
                edgecolor="#555555",
                linewidth=0.9,
                zorder=2,
            )  # fmt: skip
        )
        for i, part in enumerate(text):
            axes.text(
                x - w / 2 + margin, y + (i + 0.5 - len(text) / 2) * line, part, va="center", zorder=3,
                family="DejaVu Sans Mono", fontsize=size, fontweight="normal" if i else "bold",
                parse_math=False,
            )  # fmt: skip
    return figure


def to_dot(tensor: Tensor, *, names: Mapping[str, Any] | None = None) -> str:
    """The graph as text in Graphviz' language; a box has what `plot_graph` writes into it (the gradients for
    one element only).

    Returns
    -------
    str
        A graph in Graphviz's language.

    Examples
    --------
    >>> import nbgrad
    >>> w = nbgrad.tensor(3.0, requires_grad=True)
    >>> print(to_dot(w * 2, names={"w": w}))
    digraph {
      rankdir=LR
      node [shape=box, style="rounded,filled", fontname="monospace"]
      n0 [label="w\\lvalue = 3\\lgrad  = 2\\l", fillcolor="#d6e8f7"]
      n1 [label="Mul\\lvalue = 6\\lgrad  = 1\\l", fillcolor="#d9efd3"]
      n0 -> n1
    }
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor: expected a Tensor, got {type(tensor).__name__}")
    nodes, edges = _collect(tensor)
    number = {node: f"n{i}" for i, node in enumerate(nodes)}
    lines = ["digraph {", "  rankdir=LR", '  node [shape=box, style="rounded,filled", fontname="monospace"]']
    for node, text in _labels(tensor, nodes, names or {}).items():
        label = "".join(part.replace("\\", "\\\\").replace('"', '\\"') + "\\l" for part in text)
        kind = "result" if node is nodes[-1] else "leaf" if isinstance(node, Leaf) else "operation"
        lines.append(f'  {number[node]} [label="{label}", fillcolor="{_COLOURS[kind]}"]')
    lines += [f"  {number[start]} -> {number[end]}" for start, end in edges]
    return "\n".join([*lines, "}"])


def _collect(tensor: Tensor) -> tuple[list[Node], list[tuple[Node, Node]]]:
    """All nodes, operands before what is made of them, the tensor's last; and the edges, each once."""
    if tensor._node is None:
        raise ValueError("tensor: expected one that requires a gradient, as only such have a graph")
    nodes: dict[Node, tuple[Node, ...]] = {}
    open_: list[tuple[Node, bool]] = [(tensor._node, False)]
    while open_:  # not recursive: a graph may be 100 000 nodes deep
        node, operands_done = open_.pop()
        if node in nodes:
            continue
        operands = tuple(dict.fromkeys(edge for edge in node._live_edges() if edge is not None))
        if operands_done:
            nodes[node] = operands
        else:
            open_.append((node, True))
            open_ += [(operand, False) for operand in reversed(operands)]
    return list(nodes), [(operand, node) for node, operands in nodes.items() for operand in operands]


def _labels(tensor: Tensor, nodes: list[Node], names: Mapping[str, Any]) -> dict[Node, list[str]]:
    """The lines of text in each node's box."""
    name_of: dict[Node, str] = {}
    for name, value in names.items():
        if isinstance(value, Tensor) and value._node is not None:
            name_of.setdefault(value._node, str(name).replace("\n", " "))
    root, data = nodes[-1], tensor._data
    grads = propagate(root, tensor._seed(None), retain_graph=True, every_node=True) if data.size == 1 else {}
    labels = {}
    for node in nodes:
        operation = "" if isinstance(node, Leaf) else node.name().replace("Backward", "")
        title = " = ".join(part for part in (name_of.get(node), operation) if part) or "leaf"
        if node._shape is None:  # a Function with several outputs: they are nodes of their own
            labels[node] = [title]
            continue
        small = int(np.prod(node._shape)) <= _SHOWN_SIZE
        labels[node] = [title] if small else [title, f"shape   = {node._shape}"]
        for quantity, array in (("value", data if node is root else _value(node)), ("grad", grads.get(node))):
            array = array if array is None else move(array, "cpu")
            if array is None:
                if quantity == "value":
                    labels[node].append("value not kept")
            elif small:
                text = np.array2string(np.asarray(array), precision=4) if np.ndim(array) else f"{array:.4g}"
                labels[node] += f"{quantity:5} = {text}".replace("\n", "\n" + " " * 8).split("\n")
            else:
                labels[node].append(f"{f'‖{quantity}‖':7} = {np.linalg.norm(array):.4g}")
    return labels


def _value(node: Node) -> Any:
    if isinstance(node, Leaf):
        return None if node.variable is None else node.variable._data
    return node._value() if isinstance(node._value, weakref.ref) else node._value


def _entries(
    edges: list[tuple[Node, Node]],
    at: dict[Node, tuple[float, float]],
    sizes: dict[Node, tuple[float, float]],
) -> dict[tuple[Node, Node], tuple[float, float]]:
    """Where each edge enters its box: on the left side, in the order of the heights it comes from."""
    out = {}
    for node, (x, y) in at.items():
        arriving = sorted((edge for edge in edges if edge[1] is node), key=lambda edge: at[edge[0]][1])
        for i, edge in enumerate(arriving):
            out[edge] = x - sizes[node][0] / 2, y + sizes[node][1] * ((i + 1) / (len(arriving) + 1) - 0.5)
    return out
