import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import nbgrad
from nbgrad.cli import main
from nbgrad.datasets import load_digits, write_idx
from nbgrad.training import plots
from nbgrad.training.loop import train
from nbgrad.training.models import MODELS

Image = pytest.importorskip("PIL.Image")


def run(*arguments, **options):
    """The command line as a process of its own."""
    command = [sys.executable, "-m", "nbgrad", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return train(epochs=3, out=tmp_path_factory.mktemp("model")).folder


def test_help_and_version(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    for command in ("train", "predict", "plot", "check", "info"):
        assert re.search(rf"^ +{command} ", text, re.MULTILINE)
        assert main([command, "--help"]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nbgrad {nbgrad.__version__}\n"
    main(["train", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in MODELS)


def test_train_as_a_user_does(tmp_path):
    """In an empty folder, with no option: within seconds, everything in runs/digits-softmax."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        "COLUMNS": "80",
    }
    done = run("train", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")  # no progress bar where nobody watches
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"^softmax on digits: 60 epochs in [\d.]+ s, [\d,]+ images/s$", done.stdout, re.MULTILINE)
    assert re.search(r"^images +1438 +359$", done.stdout, re.MULTILINE)
    accuracy = re.search(r"^accuracy +[\d.]+ % +([\d.]+) %$", done.stdout, re.MULTILINE)
    assert float(accuracy[1]) >= 95
    files = os.listdir(tmp_path / "runs" / "digits-softmax")
    listed = done.stdout.partition("runs/digits-softmax: ")[2].replace(",", " ").split()
    assert sorted(files) == sorted(listed)
    assert os.listdir(tmp_path) == ["runs"]


def test_every_option_of_train_arrives(tmp_path, capsys):
    options = "train --dataset digits --model maxout --epochs 2 --batch-size 50 --lr 0.002 --seed 5 --device cpu"
    assert main([*options.split(), "--out", str(tmp_path)]) == 0
    assert "maxout on digits: 2 epochs" in capsys.readouterr().out
    same = train(model="maxout", epochs=2, batch_size=50, lr=0.002, seed=5, out=tmp_path, resume=True)
    assert same.epochs_trained == 0
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0
    assert "complete already" in capsys.readouterr().out


ERRORS = [
    ("train --dataset cifar", "--dataset: invalid choice: 'cifar'"),
    ("train --model svm", "--model: invalid choice: 'svm'"),
    ("train --epochs many", "--epochs: invalid int value: 'many'"),
    ("train --epochs 0", "epochs: expected at least 1, got 0"),
    ("train --epochs -3", "epochs: expected at least 1, got -3"),
    ("train --batch-size 0", "batch_size: expected at least 1"),
    ("train --lr 0", "lr: expected a finite number above 0"),
    ("train --lr nan", "lr: expected a finite number above 0"),
    ("train --lr 1e38 --out {tmp}/lr", "lr: expected one that keeps the loss finite"),
    ("train --seed -1", "seed: expected at least 0"),
    ("train --device cuda", "device: cuda is not available: "),
    ("train --device tpu", "--device: invalid choice: 'tpu'"),
    ("train --out {tmp}/file", "out: cannot write to"),
    ("train --resume --out {tmp}/none", "resume: there is no checkpoint.npz"),
    ("train --resume --lr 1 --out {model}", "lr: expected 0.05, as the run in"),
    ("train --dataset mnist --out {tmp}/m", "NBGRAD_DATA: expected train-images-idx3-ubyte"),
    ("train extra", "unrecognized arguments: extra"),
    ("predict --model {model}", "the following arguments are required: IMAGES"),
    ("predict {tmp}/file", "the following arguments are required: --model"),
    ("predict --model {tmp} {tmp}/file", "expected the folder of a trained model"),
    ("predict --model {model} {tmp}/none", "none: No such file or directory"),
    ("predict --model {model} {tmp}", "Is a directory"),
    ("predict --model {model} {tmp}/file", "file: expected an IDX, PNG or .npy file"),
    (
        "predict --model {model} {tmp}/large.npy",
        "large.npy: expected images of 8x8 pixels, got shape (28, 28)",
    ),
    ("predict --model {tmp}/forged {tmp}/large.npy", "model: expected one of softmax"),
    ("plot", "the following arguments are required: what"),
    ("plot nothing", "invalid choice: 'nothing'"),
    ("plot activations --out {tmp}/none/a.png", "No such file or directory"),
    ("plot activations --out {tmp}/a.xyz", "Format 'xyz' is not supported"),
    ("fly", "invalid choice: 'fly'"),
]


@pytest.mark.parametrize(("command", "message"), ERRORS, ids=[command for command, _ in ERRORS])
def test_errors_are_one_line_and_status_2(tmp_path, capsys, monkeypatch, model, command, message):
    monkeypatch.setenv("NBGRAD_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(plots, "activations", lambda: pytest.fail("drawn before the file was looked at"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("hello")
    np.save(tmp_path / "large.npy", np.zeros((28, 28), np.uint8))
    (tmp_path / "forged").mkdir()
    (tmp_path / "forged" / "model.json").write_text('{"model": "__import__"}')
    words = [word.format(tmp=tmp_path, model=model) for word in command.split()]
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("nbgrad: error: ") and captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "runs").exists()


def test_an_error_in_a_process_of_its_own_shows_no_traceback(tmp_path):
    done = run("train", "--out", "/dev/null/x", cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"nbgrad: error: out: cannot write to /dev/null/x: .*\n", done.stderr)


def test_predict_names_every_digit(tmp_path, capsys, model):
    data = load_digits()
    few = data.test_images[:12]
    write_idx(tmp_path / "a.idx.gz", few)
    np.save(tmp_path / "b.npy", few)
    for n in range(2):
        Image.fromarray(np.round(few[n] * (255 / 16)).astype(np.uint8)).save(tmp_path / f"{n}.png")
    files = [str(tmp_path / name) for name in ("a.idx.gz", "b.npy", "0.png", "1.png")]
    assert main(["predict", "--model", str(model), *files]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = [re.fullmatch(r"(\S+)  class (\d)  probability ([01]\.\d{4})", line) for line in captured.out.splitlines()]
    names = [f"{files[0]}[{n}]" for n in range(12)] + [f"{files[1]}[{n}]" for n in range(12)] + files[2:]
    assert [line[1] for line in lines] == names
    classes = [int(line[2]) for line in lines]
    assert np.mean(classes[:12] == data.test_labels[:12]) > 0.7
    assert classes[12:24] == classes[:12] and classes[24:] == classes[:2]
    assert all(float(line[3]) > 0.1 for line in lines)


def test_predict_gives_a_hint_on_black_digits(tmp_path, capsys, model):
    np.save(tmp_path / "a.npy", 16 - load_digits().test_images[0])
    assert main(["predict", "--model", str(model), str(tmp_path / "a.npy")]) == 0
    assert "mostly white, but the model knows white digits on black" in capsys.readouterr().err


def test_output_into_a_closed_pipe_is_no_error(tmp_path, model):
    write_idx(tmp_path / "a.idx", np.concatenate([load_digits().train_images] * 20))
    command = f"{sys.executable} -m nbgrad predict --model {model} {tmp_path}/a.idx | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_plot_activations(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "activations"]) == 0
    assert capsys.readouterr().out == "wrote activations.png\n"
    with Image.open(tmp_path / "activations.png") as picture:
        assert picture.width > 800
    assert main(["plot", "activations", "--out", "a.pdf"]) == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_info(capsys, monkeypatch):
    monkeypatch.setenv("NBGRAD_DATA", "/some/where")
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for part in (
        nbgrad.__version__,
        np.__version__,
        "threads",
        "threading layer",
        "CUDA",
        "cache",
        "/some/where",
    ):
        assert part in text


def test_info_starts_no_threads_and_no_cuda():
    code = "import sys; from nbgrad.cli import main; main(['info']); assert 'numba.cuda' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not chosen yet" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_says_how_to_continue(tmp_path):
    command = [sys.executable, "-m", "nbgrad", "train", "--epochs", "100000", "--out", tmp_path / "a"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if (tmp_path / "a" / "checkpoint.npz").exists():
                break
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch(
        r"nbgrad: interrupted after epoch \d+ of 100000; to continue: nbgrad train --resume --out "
        rf"{tmp_path}/a\n",
        err,
    )


def test_a_line_on_stderr_is_short_and_escaped(tmp_path, capsys, model):
    hostile = tmp_path / "a\x1b[31m\n\u202eb\udcff"
    for words in (["predict", "--model", str(model), str(hostile)], ["predict", "--model", str(hostile), "x"], [str(hostile)],
                  ["train", "--resume", "--out", str(hostile)], ["train", "--model", str(hostile)], ["plot", "activations", "--out", str(hostile / "x.png")]):  # fmt: skip
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and err[:-1].isprintable() and len(err) <= 301 and "nbgrad: error: " in err
    for length in (10, 200, 250, 280, 290, 300, 5000):
        assert main(["predict", "--model", str(model), "x" * length]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and len(err) <= 301 and err.startswith("nbgrad: error: xxx") and err.endswith(("directory\n", "too long\n"))


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_predict_prints_names_escaped(tmp_path, model, encoding):
    names = [b"\xff\xfe.npy", b"two\nlines.npy", b"\x1b[2J.npy", "ü.npy".encode(), b"plain.npy"]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            np.save(file, load_digits().test_images[0])
    command = [sys.executable, "-m", "nbgrad", "predict", "--model", str(model), *names]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = [line.split(b"  class ")[0].decode() for line in done.stdout.splitlines()]
    assert shown == [r"\xff\xfe.npy", r"two\nlines.npy", r"\x1b[2J.npy", "ü.npy" if encoding == "utf-8" else r"\xfc.npy", "plain.npy"]


def test_an_error_without_words_is_named(capsys, monkeypatch):
    from nbgrad.training import info

    for error in (ValueError(), OSError(), RuntimeError(""), ArithmeticError(" ")):
        monkeypatch.setattr(info, "info", lambda error=error: (_ for _ in ()).throw(error))
        assert main(["info"]) == 2
        assert capsys.readouterr().err == f"nbgrad: error: {type(error).__name__}\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk to write to")
@pytest.mark.parametrize("redirection", ["> /dev/full", "> /dev/full 2>&-", ">&-", "2>&-", "2> /dev/full", "> /dev/full 2>&1"])
def test_output_that_cannot_be_written(tmp_path, redirection):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = f"{sys.executable} -m nbgrad info {redirection}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert done.stderr in ("", "nbgrad: error: No space left on device\n")
    assert done.returncode == (2 if redirection.startswith("> ") else 0)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_while_the_command_starts(tmp_path):
    """One line and 130 at any moment but the first, in which Python itself starts."""
    import nbgrad.__main__ as entry

    begin = (  # tells when Python has come to the command
        "import os, runpy, signal, sys; sys.argv = ['nbgrad', 'train', '--epochs', '100000', '--out', 'a'];"
        f"os.write(1, b'x'); runpy.run_path({entry.__file__!r}, run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    for delay in (0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0):
        with subprocess.Popen(
            [sys.executable, "-c", begin], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        ) as process:
            process.stdout.read(1)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and err.count("\n") == 1 and err.startswith("nbgrad: interrupted"), (delay, err)
