"""The package as a whole: what importing it costs, one version everywhere, and what a built wheel holds."""

import configparser
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nbgrad

ROOT = Path(__file__).parent.parent
# numba-cuda puts a start-up hook of its own into every process: numba.cuda is what tells of an import.
HEAVY = re.compile(r"(matplotlib|pooch|tqdm|hypothesis|scipy|sklearn|dask|torch|cupy|numba\.cuda|PIL)(\.|$)")
EXTRAS = {"cupy", "dask", "distributed", "hypothesis", "numba_cuda", "sklearn"}  # may be missing
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in (ROOT / "nbgrad").rglob("*.py") if path.name != "__main__.py"
)


def run(code, *arguments, cwd=ROOT, **environment):
    """The JSON that the code prints in a new process."""
    command, environment = [sys.executable, "-c", code, *map(str, arguments)], os.environ | environment
    answer = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def test_import_is_light_and_compiles_nothing():
    code = """
import json, sys
import numba  # brings scipy's own __init__ where that is installed
from numba.core import event
before = set(sys.modules)
with event.install_recorder("numba:compile") as record:
    import nbgrad
print(json.dumps([sorted(set(sys.modules) - before), len(record.buffer)]))
"""
    modules, compilations = run(code)
    assert "nbgrad" in modules
    assert [name for name in modules if HEAVY.match(name)] == []
    assert compilations == 0


def test_every_module_can_be_imported_and_compiles_nothing():
    code = """
import importlib, json, sys
from numba.core import event
missing = {}
with event.install_recorder("numba:compile") as record:
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing[name] = error.name
print(json.dumps([missing, len(record.buffer)]))
"""
    missing, compilations = run(code, *MODULES, MPLBACKEND="Agg")
    assert {name: cause for name, cause in missing.items() if cause.partition(".")[0] not in EXTRAS} == {}
    assert compilations == 0


def test_the_version_is_the_same_everywhere():
    citation = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    # what is not released yet may stand above
    changelog = re.search(r"^## (?!Unreleased)(\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    conda = (ROOT / "packaging" / "conda" / "meta.yaml").read_text("utf-8")
    recipe = re.search(r'set version = "(.*)"', conda)
    assert {citation[1], changelog[1], recipe[1]} == {nbgrad.__version__}


def test_the_lowest_versions_are_those_of_setup_cfg():
    """What is tested on the oldest Python is what is promised."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    extras = setup["options.extras_require"]
    lines = "\n".join([setup["options"]["install_requires"], *(extras[e] for e in ("test", "testing", "sklearn", "dask"))])
    promised = dict(re.findall(r"^([\w-]+)(?:\[.*?\])? >=([\d.]+)", lines, re.MULTILINE))
    conda = (ROOT / "packaging" / "conda" / "meta.yaml").read_text("utf-8").partition("  run:")[2]
    needed = re.findall(r"^([\w-]+) >=([\d.]+)$", setup["options"]["install_requires"], re.MULTILINE)
    recipe = re.findall(r"- (\w+)(?:-base)? >=([\d.]+)$", conda, re.MULTILINE)
    assert recipe == [("python", setup["options"]["python_requires"][2:]), *needed]
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / ".ci" / "lowest.txt").read_text("utf-8"), re.MULTILINE))
    assert pinned == promised
    tested = re.search(r"for minor in ([\d ]+);", (ROOT / ".ci" / "run").read_text("utf-8"))[1].split()
    said = re.findall(r"Python :: 3\.(\d+)$", setup["metadata"]["classifiers"], re.MULTILINE)
    assert said == tested and setup["options"]["python_requires"] == f">=3.{said[0]}"


def test_the_version_is_that_of_the_installed_package():
    try:
        installed = importlib.metadata.version("nbgrad")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("nbgrad is not installed, the checkout itself is tested")
    assert installed == nbgrad.__version__


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """A wheel built of the checkout, and one built of the checkout's source distribution."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"  # a copy: a build leaves files behind, which would get into the next one
    junk = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "_build", "dist", "jupyter_execute", "runs", "venv")
    shutil.copytree(ROOT, source, ignore=junk)
    build = "import json, sys; from setuptools import build_meta\nprint(json.dumps(getattr(build_meta, sys.argv[1])(sys.argv[2])))"
    wheel = folder / run(build, "build_wheel", folder, cwd=source)
    sdist = folder / run(build, "build_sdist", folder, cwd=source)
    shutil.unpack_archive(sdist, folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    (folder / "again").mkdir()
    again = folder / "again" / run(build, "build_wheel", folder / "again", cwd=unpacked)
    return wheel, again, unpacked


def test_the_wheel_holds_every_module_the_data_and_nothing_else(distributions):
    wheel, again, _ = distributions
    files = zipfile.ZipFile(wheel).namelist()
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "nbgrad").rglob("*.py*") if path.suffix in (".py", ".pyi")]
    data = [f"nbgrad/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "data").glob("*.*")]
    metadata = [file for file in files if file.startswith(f"nbgrad-{nbgrad.__version__}.dist-info/")]
    assert sorted(files) == sorted([*sources, *data, "nbgrad/py.typed", *metadata])
    assert any(file.endswith("/licenses/LICENSE") for file in metadata)
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(files)


def test_the_source_distribution_holds_the_tests(distributions):
    *_, unpacked = distributions
    tests, again = (sorted(path.relative_to(root) for path in (root / "tests").rglob("*.py")) for root in (ROOT, unpacked))
    assert tests == again
    assert (unpacked / "CHANGELOG.md").is_file()


def test_the_digits_are_loaded_from_an_installed_wheel(distributions, tmp_path):
    wheel, _, _ = distributions
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = """
import json
from nbgrad import datasets
print(json.dumps([datasets.__file__, datasets.load_digits().test_images.shape]))
"""
    path, shape = run(code, cwd=tmp_path.parent, PYTHONPATH=str(tmp_path))
    assert Path(path).parents[1] == tmp_path / "nbgrad" and shape == [359, 8, 8]


def test_a_stranger_installs_the_wheel_and_trains(distributions, tmp_path):
    """What `pip install` makes of it: the command, its data and modules, and nothing of the checkout."""
    wheel, _, _ = distributions
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "there", wheel]
    subprocess.run(install, check=True, stderr=subprocess.PIPE)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(tmp_path / "there")}
    command = [sys.executable, tmp_path / "there" / "bin" / "nbgrad", "train", "--epochs", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "runs" / "digits-softmax" / "curves.png").is_file(), done.stderr


def test_a_light_core_needs_no_pictures_downloads_or_progress_bars():
    """matplotlib, pooch and tqdm are missing: kernels, tensors, training steps and fits work; a picture says what it needs."""
    code = """
import json, sys
sys.modules.update(dict.fromkeys(["matplotlib", "pooch", "tqdm", "PIL"]))  # an import of one is an ImportError
import numpy as np, nbgrad
from nbgrad import functional, nn, optim
x = nbgrad.tensor(np.eye(3, dtype=np.float32), requires_grad=True)
net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
step = optim.SGD(net.parameters(), lr=0.1)
loss = functional.cross_entropy(net(x), np.arange(3))
loss.backward()
step.step()
model = nbgrad.SoftmaxRegression().fit(np.eye(3).repeat(5, 0), np.arange(3).repeat(5))
try:
    nbgrad.plot_graph(loss)
except ImportError as error:
    print(json.dumps([nbgrad.datasets.load_digits().test_images.shape[0], model.predict(np.eye(3)).tolist(), str(error)]))
"""
    digits, labels, error = run(code)
    assert (digits, labels) == (359, [0, 1, 2]) and "matplotlib" in error


def test_test_files_have_names_of_their_own():
    """pytest imports them as modules without a package: of two with one name it collects neither."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
