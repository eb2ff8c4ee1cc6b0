"""A Python for a peer whose packages are its own, and whose torch is this one's."""

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / ".peers"


def environment(name: str, package: str, needs: Sequence[str]) -> Path | None:
    """The Python of a peer's environment in benchmarks/.peers, made if it is not there; None if it cannot be made,
    which is said. ``package`` is installed without what it asks for, which is ``needs`` and what this Python has."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            print(f"{name} gets an environment of its own", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "torch-of-carrara.pth").write_text("\n".join([sysconfig.get_path("purelib"), _source()]))
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *needs], check=True)
        subprocess.run([*install, "--no-deps", package], check=True)
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        print(f"{name} is left out: it could not be installed ({error})", file=sys.stderr)
        return None
    return python


def _source() -> str:
    """Where this Carrara is, which may be no installed package."""
    import carrara

    return str(Path(carrara.__file__).parent.parent)
