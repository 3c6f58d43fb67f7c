"""Names that are private to Numba and llvmlite: nbgrad works where a version lacks them."""

import ast
import re
import shutil

import pytest
from processes import PACKAGE, run

# Where each is used. ("vectors.py": how wide vectors are. "options.py": compile once for all callers. "attributes.py": formula.sum in @njit. "locks.py": forks. "cache.py": checksums.)
NAMES = {
    "vectors.py": ["get_host_cpu_features"],
    "options.py": ["Flags", "builtin_registry", "_impl_cache"],
    "parts.py": ["JITCodeLibrary", "JITCPUCodegen", "Compiler", "_finalize_final_module", "_finalize_dynamic_globals", "codegen", "set_env", "_compile_core", "define_pipelines"],
    "start.py": ["linalg", "ensure_blas", "arraymath"],
    "locks.py": ["global_compiler_lock", "_backend_init_thread_lock", "_lock", "lib"],
    "attributes.py": ["builtin_registry", "AttributeTemplate", "infer_getattr"],
    "cache.py": [
        "_cache", "_impl", "cache_path", "filename_base", "_cache_file", "_dump", "_index_key", "magic_tuple",
    ],
}  # fmt: skip
PRIVATE = re.compile(r"(numba\.(core|np|cpython|parfors|misc)|llvmlite\.binding)(\.|$)")


def imports(tree):
    """The modules that a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]


def test_only_these_are_imported():
    """Each import is guarded."""
    found = set()
    for file in (PACKAGE / "jit").glob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        private = {name for name in imports(tree) if PRIVATE.match(name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Try) and any("ImportError" in ast.unparse(handler) for handler in node.handlers):
                guarded = {name for name in imports(node) if PRIVATE.match(name)}
                found |= {name.rpartition(".")[2] for name in guarded}
                private -= guarded
        assert not private, f"{file}: {private}"
    assert found == {
        "AttributeTemplate", "Compiler", "Flags", "JITCPUCodegen", "JITCodeLibrary", "arraymath", "builtin_registry", "get_host_cpu_features",
        "global_compiler_lock", "infer_getattr", "linalg",
    }  # fmt: skip


CODE = """
import numpy as np
from numba import njit
from nbgrad import kernels
x = np.array([-1.0, 0.0, 2.0])
@njit
def mine(x):
    return kernels.relu(x)
print(kernels.sigmoid(x)[1], mine(x)[2], flush=True)
import os, warnings
warnings.simplefilter("ignore")
if hasattr(os, "fork"):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if kernels.leaky_relu(x)[2] == 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.parametrize("file, name", [(file, name) for file, names in NAMES.items() for name in names])
def test_without(file, name, tmp_path):
    """The name is looked for under another one, which is nowhere: as if it were missing."""
    copy = shutil.copytree(PACKAGE, tmp_path / "copy" / "nbgrad", ignore=shutil.ignore_patterns("__pycache__"))
    source = copy / "jit" / file
    text, count = re.subn(rf"\b{name}\b", name + "_gone", source.read_text("utf-8"))
    assert count
    source.write_text(text)
    assert run(CODE, tmp_path / "cache", package=copy, NUMBA_OPT="0") == "0.5 2.0"  # unoptimised: in half the time
