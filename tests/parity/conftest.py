"""The golden figures: `RESIDIFF_GOLDEN` names their folder, `tests/golden` unless set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

Golden = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    return Path(os.environ.get("RESIDIFF_GOLDEN") or Path(__file__).parent.parent / "golden")


@pytest.fixture(scope="session")
def golden(golden_folder: Path) -> Golden:
    """Opens `<name>.safetensors` of the golden folder; a missing file is a failure, never a skip."""

    def load(name: str) -> dict[str, Tensor]:
        path = golden_folder / f"{name}.safetensors"
        if not path.is_file():
            pytest.fail(f"no golden file {path}; set RESIDIFF_GOLDEN to a folder that has it", pytrace=False)
        return load_file(path)

    return load
