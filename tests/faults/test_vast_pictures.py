"""A picture of 50,000 by 50,000 pixels, whole and valid and 3 MB on the disk, costs no memory: its header is enough.

All ways to meet it are gone in a process whose memory is measured, and in which warnings are errors.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_pictures import vast_png
from picture_files import write

SIDE = 50_000
MOST = 300 * 1024
"""KiB: decoded, it has 2.4 million of them."""
CHILD = """
import json, resource, sys, warnings
from pathlib import Path

import carrara.cli.looking, carrara.data.files, carrara.medium.picture, carrara.pixels
from carrara.data import Folder, Loader, Transform, Unreadable, inspect_folder
from carrara.data.files import decode, read_header, scan
from carrara.errors import UserError
from carrara.files import open_picture
from carrara.medium.picture import Picture

folder = Path(sys.argv[1])
vast = folder / "vast.png"
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module=r"PIL\\\\.")


def scanned():
    return [str(header.problem) for header in scan(read_header, [vast] * 8, "")]


def trained():
    batches = Loader(Folder(folder), Transform(size=(8, 8)), 2, seed=0).batches()
    return [next(batches).x.shape[0] for _ in range(4)], batches.close()


def inspected():
    return "\\n".join(inspect_folder(folder).lines())


def decoded():
    return decode(vast)


def edited():
    return Picture.read(vast)


def opened():
    with open_picture(vast) as image:
        return image.load()


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


found, before = {}, peak()
for way in (scanned, trained, inspected, decoded, edited, opened):
    try:
        said = str(way())
    except (UserError, Unreadable) as error:
        said = str(error)
    found[way.__name__] = said, peak() - before
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write(tmp_path_factory.mktemp("vast"), "a.png", "b.png")
    (path / "vast.png").write_bytes(vast_png(SIDE))
    assert (path / "vast.png").stat().st_size < 4e6
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is measured in other units")
def test_a_vast_picture_costs_no_memory(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert all(more < MOST for _, more in found.values()), found
    told = {way: said for way, (said, _) in found.items() if way != "trained"}
    assert all("more than 64 million" in said for said in told.values()), told
    assert "left out 1 unreadable of 3 pictures: 'vast.png' (it has more than 64 million pixels)" in done.stderr


def test_it_is_a_whole_picture(tmp_path: Path) -> None:
    """A small one that is made in the same way can be decoded."""
    from carrara.data.files import decode

    (tmp_path / "a.png").write_bytes(vast_png(300))
    assert decode(tmp_path / "a.png").shape == (300, 300, 1)
