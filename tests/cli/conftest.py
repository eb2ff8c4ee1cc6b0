import pytest

from carrara.cli import main
from tiny import Command


@pytest.fixture
def carrara(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process; returns its exit code and all that it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as raised:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(raised.value.code or 0), printed.out + printed.err

    return run
