"""What is deployed: the code and the policy file, and nothing that only a workstation needs."""

import shutil
import subprocess

from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
DEPLOYED = {
    "constraints.txt",
    "detectors",
    "function_app.py",
    "host.json",
    "hubwarden",
    "policy.yaml",
    "remediators",
    "requirements.txt",
}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """Asks git, whose patterns .funcignore has."""
    if shutil.which("git") is None:
        pytest.skip("git reads .funcignore here")
    repository = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    shutil.copy(ROOT / ".funcignore", repository / ".gitignore")

    def ask(paths):
        done = subprocess.run(
            ["git", "-C", str(repository), "check-ignore", "--no-index", "--stdin"],
            input="\n".join(paths),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in {0, 1}, done.stderr
        return set(paths) - set(done.stdout.splitlines())

    return ask


def test_the_code_and_the_policy_file_are_deployed_and_nothing_else(deployed):
    names = {f"{path.name}/" if path.is_dir() else path.name for path in ROOT.iterdir()}
    made = {"policy.yaml", "local.settings.json", ".azure/", ".venv/", "node_modules/", "azure.yaml", "test.http"}
    assert {name.rstrip("/") for name in deployed(sorted(names | made))} == DEPLOYED


def test_all_of_the_code_but_the_command_line_is_deployed(deployed):
    files = sorted(
        str(path.relative_to(ROOT))
        for folder in ("hubwarden", "detectors", "remediators")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    assert set(files) - deployed(files) == {file for file in files if file.startswith("hubwarden/cli/")}


def test_azures_build_pins_what_the_requirements_bring_along(deployed):
    named = [line.split() for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("-")]
    assert named == [["-c", "constraints.txt"]]
    assert deployed(["constraints.txt"]) == {"constraints.txt"}
