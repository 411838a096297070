import pytest

SECRET = "sk-0123456789-very-secret"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key, in the environment as MODEL_KEY."""
    monkeypatch.setenv("MODEL_KEY", SECRET)
    return SECRET
