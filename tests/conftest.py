"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("POLYDL_VERIFY", "1")  # every pass checks its result while tests run

# Reproducible and immune to a busy machine: no deadlines, the same examples on every run.
hypothesis.settings.register_profile("polydl", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "polydl"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the expected texts under tests/golden"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` compares `text` with the file `tests/golden/<name>`; --update-golden writes it."""

    def check(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if not path.is_file():
            pytest.fail(f"no golden file {path}; run pytest with --update-golden and review what it writes")
        assert text == path.read_text(), f"differs from {path}; if intended, run pytest with --update-golden"

    return check


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of downloaded models beside the checkout; tests that need it skip where it is absent."""
    path = ROOT.parent / "shared" / "models"
    if not path.is_dir():
        pytest.skip(f"no model folder at {path}")
    return path
