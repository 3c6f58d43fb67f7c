"""The READMEs tell the truth: the code blocks run, in order, in one session; the files they name exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_python_blocks_run(tmp_path):
    script = tmp_path / "readme.py"  # a file: Numba wants to read the source of what it compiles
    script.write_text("\n".join(blocks("python")))
    assert len(blocks("python")) >= 6
    done = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def test_commands_are_understood():
    """Every `nbgrad` command line of the README, up to the training itself."""
    from nbgrad import cli

    commands = [line.split("#")[0].split() for block in blocks("sh") for line in block.splitlines() if line.startswith("nbgrad")]
    assert {c[1] for c in commands} == {"train", "predict", "plot", "check", "info"}
    for command in commands:
        cli._parser().parse_args(command[1:])


def test_exactly_one_test_command():
    assert sum(block.startswith("# test\n") for block in blocks("sh")) == 1


def test_it_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 200
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_guide_lists_every_file():
    guide = (ROOT / "nbgrad" / "README.md").read_text()
    for path in sorted((ROOT / "nbgrad").rglob("*.py")):
        name = path.relative_to(ROOT / "nbgrad").as_posix()
        if path.name not in ("__init__.py", "__main__.py"):
            assert f"`{name}`" in guide, f"nbgrad/README.md does not name {name}"
    for name in re.findall(r"`([\w/]+\.py)`", guide):
        assert (ROOT / "nbgrad" / name).exists(), f"nbgrad/README.md names {name}, which is not there"


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
