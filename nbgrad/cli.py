"""The command line: `nbgrad train`, `predict`, `plot`, `check` and `info`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import nbgrad
from nbgrad.training.interrupts import Interrupts

__all__ = ["main"]

_LONGEST = 300  # characters of a line on stderr


class _Parser(argparse.ArgumentParser):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf$)")  # -inf and -1e5 are numbers, too

    def error(self, message: str) -> NoReturn:
        """One line, without argparse's usage above it."""
        self.exit(_fail(message))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (`sys.argv[1:]` by default) and return the exit status.

    0: done; 1: `nbgrad check` found a gradient wrong; 2: an error, told in one line on stderr; 130: interrupted by
    Ctrl-C.

    >>> main(["--version"])
    nbgrad 0.2.0
    0
    """
    if hasattr(sys.stdout, "reconfigure"):  # a name that the terminal cannot show is no error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = _parser().parse_args(argv)
        with Interrupts():
            status = arguments.run(arguments)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        return status or 0
    except SystemExit as exit:  # argparse leaves so, after --help as after an error
        return int(exit.code or 0)
    except KeyboardInterrupt as interrupt:
        _tell(str(interrupt) or "interrupted")
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        _drop_output()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror}" if error.strerror else _said(error))
    except (ValueError, TypeError, ArithmeticError, RuntimeError, ImportError) as error:
        return _fail(_said(error))
    except MemoryError as error:
        return _fail(f"out of memory {error}".rstrip())


def _fail(message: str) -> int:
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):  # the disk is full, or the caller has closed it
        _drop_output()
    _tell(f"error: {message}")
    return 2


def _said(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def _tell(message: str) -> None:
    """One line on stderr, of at most 300 characters: of a longer one its beginning and its end."""
    line = escaped("nbgrad: " + " ".join(message.split()))
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} ... {line[5 - _LONGEST // 2 :]}"
    if sys.stderr is not None:  # closed by the caller
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Python flushes stdout once more at its end; into the void it succeeds."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escaped(text: object) -> str:
    r"""A text, a file's name say, as a terminal may get it: line breaks, control sequences, what turns the direction of
    writing, and bytes that are no UTF-8 as Python's escapes.

    >>> print(escaped("a\x1b[31m\nb\udcffü"))
    a\x1b[31m\nb\xffü
    """
    return "".join(
        c if c.isprintable()
        else f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF
        else c.encode("unicode_escape").decode()
        for c in str(text)
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    from nbgrad.training.models import MODELS

    parser = _Parser(prog="nbgrad", description="Train and use small models on handwritten digits.")
    parser.add_argument("--version", action="version", version=f"nbgrad {nbgrad.__version__}")
    parser.set_defaults(run=lambda _: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    text = argparse.RawDescriptionHelpFormatter
    train = commands.add_parser(
        "train",
        help="train a model on handwritten digits",
        description="Train a model and write weights, metrics.json and pictures into a folder.",
        epilog="\n".join(["models:", *(f"  {name:<13} {model.summary}" for name, model in MODELS.items())])
        + """

Files of an earlier run in the folder are replaced, other files are left alone.
A run that was interrupted or killed is continued by --resume (options that are
not given are taken from it) and ends with bitwise the same weights as one that
was not, for the same number of threads.""",
        formatter_class=text,
    )
    train.set_defaults(run=_train)
    datasets = next(iter(MODELS.values())).recipes
    integer: dict[str, Any] = {"type": int, "metavar": "N"}
    train.add_argument("--dataset", choices=list(datasets), help="digits (default; embedded) or mnist")
    train.add_argument("--model", choices=list(MODELS), help="default: softmax; see below")
    train.add_argument("--epochs", **integer, help="passes over the training images")
    train.add_argument("--batch-size", **integer, help="images per step")
    train.add_argument("--lr", type=float, metavar="X", help="learning rate of the first step; it falls to 0")
    train.add_argument("--seed", **integer, help="of initial weights, order and dropout (default: 0)")
    train.add_argument("--device", choices=["cpu", "cuda"], help="where to compute (default: cpu)")
    train.add_argument("--out", metavar="DIR", help="default: runs/DATASET-MODEL")
    train.add_argument("--resume", action="store_true", help="continue the run in the folder")

    predict = commands.add_parser(
        "predict",
        help="name the digits in image files",
        description="Print, a line an image, its class and the probability that the model gives it.",
        epilog="""An IDX file (also gzipped) or .npy file holds one image or many, with pixels
from 0 to the data set's maximum (16 for digits, 255 for mnist); a PNG file
holds one. They must have the size that the model was trained on, and the digits
are white on black.""",
        formatter_class=text,
    )
    predict.set_defaults(run=_predict)
    predict.add_argument("--model", type=Path, required=True, metavar="DIR", help="what `nbgrad train` wrote")
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGES", help="IDX, PNG or .npy file")

    plot = commands.add_parser("plot", help="draw the activations", description="Draw a picture into a file.")
    plot.set_defaults(run=_plot)
    plot.add_argument("what", choices=["activations"], help="each activation with its derivative")
    plot.add_argument(
        "--out",
        type=Path,
        default=Path("activations.png"),
        metavar="FILE",
        help="PNG, SVG, PDF, ... by its ending (default: %(default)s)",
    )

    check = commands.add_parser(
        "check",
        help="test the gradient of a function of yours",
        description="Search for arguments for which BACKWARD(grad_output, *arguments) is not\n"
        "the gradient of FORWARD(*arguments), functions of NumPy arrays or numbers.",
        epilog="""examples:
  nbgrad check my/file.py:swish                          by swish_backward
  nbgrad check my.module:norm my.module:norm_grad --shape 3 --domain -100 100
  nbgrad check file.py:scale --shape 3,2 --shape 2       of two arguments

An option given once holds for all arguments, else it is given for each.
Prints the verdict, and for a wrong gradient the smallest example with code that
repeats it. Exits with 0 (right), 1 (wrong, or nothing could be confirmed) or
2 (an error in what was given). Needs hypothesis: pip install nbgrad[testing]""",
        formatter_class=text,
    )
    check.set_defaults(run=_check)
    check.add_argument("forward", metavar="MODULE:FORWARD", help="the function; MODULE is a file or a module's name")
    check.add_argument("backward", metavar="MODULE:BACKWARD", nargs="?", help="default: FORWARD_backward")
    check.add_argument(
        "--domain", nargs=2, type=float, action="append", metavar=("A", "B"), help="from A to B (default: -inf inf)"
    )
    check.add_argument("--shape", action="append", metavar="N[,N]", help="axes, or 'number' (default: what it takes)")
    dtypes = ["float16", "float32", "float64"]
    check.add_argument("--dtype", action="append", choices=dtypes, help="of the elements (default: float64)")
    check.add_argument("--examples", type=int, default=100, metavar="N", help="how many (default: %(default)s)")
    check.add_argument("--strict", action="store_true", help="one that loses digits to rounding is wrong, too")

    warm = commands.add_parser(
        "warmup",
        help="compile the kernels into the cache, on all cores",
        description="Compile kernels into Numba's disk cache, so\nthat no first call waits: in a container's image.",
        epilog="""examples:
  nbgrad warmup                                   all kernels
  nbgrad warmup softmax cross_entropy_value_and_grad --dtypes float32
  NUMBA_CACHE_DIR=/app/cache nbgrad warmup --all  and where the image has it

The cache is for one model of CPU, one version of Numba and of nbgrad.""",
        formatter_class=text,
    )
    warm.set_defaults(run=_warmup)
    warm.add_argument("names", nargs="*", metavar="NAME", help="functions (default: all kernels)")
    warm.add_argument("--all", action="store_true", help="regression, weights, reductions and strides, too")
    warm.add_argument("--dtypes", nargs="+", choices=dtypes[1:], default=dtypes[1:], help="default: both")

    info = commands.add_parser(
        "info",
        help="show versions, threads, CUDA state, folders",
        description="Show the facts a bug report needs.",
    )
    info.set_defaults(run=_info)
    return parser


def _train(arguments: argparse.Namespace) -> None:
    from nbgrad.training.loop import train

    options = {name: value for name, value in vars(arguments).items() if name != "run"}
    result = train(**options)
    print(_table(result.metrics))
    if not result.epochs_trained:
        print("The run was complete already; its results were written again.")
    print(textwrap.fill(f"In {escaped(result.folder)}: {', '.join(result.files)}", 80, break_long_words=False))


def _table(metrics: dict[str, Any]) -> str:
    """What a training reached, in at most 80 columns."""
    rows = [f"{'':10}{'training set':>14}{'test set':>12}"]
    rows.append(f"{'images':10}{metrics['train_images']:>14}{metrics['test_images']:>12}")
    rows.append(f"{'loss':10}{metrics['train_loss']:>14.4f}{metrics['test_loss']:>12.4f}")
    accuracies = [f"{100 * metrics[part + '_accuracy']:.2f} %" for part in ("train", "test")]
    rows.append(f"{'accuracy':10}{accuracies[0]:>14}{accuracies[1]:>12}")
    line = "-" * len(rows[0])
    head = (
        f"{metrics['model']} on {metrics['dataset']}: {metrics['epochs']} epochs "
        f"in {metrics['seconds']:.1f} s, {metrics['images_per_second']:,.0f} images/s"
    )
    return "\n".join([head, line, rows[0], line, *rows[1:], line])


def _predict(arguments: argparse.Namespace) -> None:
    from nbgrad.training import models, predict

    net, description = models.load_model(arguments.model)
    model = models.MODELS[description["model"]]
    size = {key: description[key] for key in ("height", "width", "max_value")}
    for path in arguments.images:
        images, white = predict.read_images(path, **size)
        if predict.mostly_white(images, white):
            note = f"{path} is mostly white, but the model knows white digits on black"
            _tell(f"note: {note}")
        probabilities = model.probabilities(models.score(net, images, white))
        for index, row in enumerate(probabilities):
            name = escaped(predict.name_of(path, index, len(images)))
            print(f"{name}  class {row.argmax()}  probability {row.max():.4f}")


def _plot(arguments: argparse.Namespace) -> None:
    from matplotlib.figure import Figure

    from nbgrad.training import checkpoint, plots

    # Before the drawing, which takes seconds: whether there is a folder, and whether matplotlib knows the format.
    if not arguments.out.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(arguments.out))
    format = arguments.out.suffix.removeprefix(".") or "png"
    plots.to_bytes(Figure(), format)
    checkpoint.write_atomically(arguments.out, plots.to_bytes(plots.activations(), format))
    print(f"wrote {escaped(arguments.out)}")


def _check(arguments: argparse.Namespace) -> int:
    from nbgrad.testing.command import run

    return run(arguments)


def _warmup(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from nbgrad.training.warmup import warmup

    with tqdm(unit="function", file=sys.stderr) as bar:

        def told(done: int, of: int, name: str) -> None:
            bar.total = of
            bar.set_postfix_str(name)
            bar.update()

        done = warmup(arguments.names, everything=arguments.all, dtypes=arguments.dtypes, told=told)
    print(f"{done['functions']} functions in {done['seconds']:.0f} s, {done['bytes'] / 1e6:.1f} MB in")
    print(escaped(done["folder"]))


def _info(arguments: argparse.Namespace) -> None:
    from nbgrad.training.info import info

    for name, value in info().items():
        print(f"{name:<17} {escaped(value)}")
