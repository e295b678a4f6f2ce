"""`pip install -r requirements.txt && python app.py`: the only commands of a Space, or of a user without make."""

import subprocess
import sys
import venv

import pytest

from tests.app.running import REPOSITORY, SPACE, client_of, running_app


@pytest.mark.slow  # installs requirements.txt into an environment of its own
@pytest.mark.timeout(900)
def test_requirements_alone_serve_the_app_on_a_space(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    requirements = REPOSITORY / "requirements.txt"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "-r", str(requirements)]
    subprocess.run(install, check=True, cwd=tmp_path)
    with running_app(REPOSITORY / "checkpoints", tmp_path, variables=SPACE, python=str(python)) as address:
        client = client_of(address)
        for sampler in ("ddim", "ddpm"):
            images, run = client.predict(
                checkpoint="pixel-faces", sampler=sampler, num_inference_steps=4, num_images=2, api_name="/generate"
            )
            assert len(images) == 2 and run["evaluations"] == 8


def test_the_space_serves_the_gradio_that_the_requirements_allow():
    from packaging.requirements import Requirement
    from packaging.version import Version

    front_matter = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("---")[1]
    version = next(line.split(":")[1].strip() for line in front_matter.splitlines() if line.startswith("sdk_version"))
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    gradio = next(Requirement(line.split("#")[0]) for line in lines if line.startswith("gradio"))
    assert Version(version) in gradio.specifier
