"""What the command accepts. The work is elsewhere, and imported when a command runs: this list needs no torch."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import carrara
from carrara.cli.benching import bench
from carrara.cli.sharding import data as data_commands
from carrara.cli.sharing import SHARING
from carrara.cli.tuning import Run, distill, finetune
from carrara.errors import check_finite

app = App(
    name="carrara",
    version=carrara.__version__,
    help="From a folder of your own files to a diffusion model that you own.",
    help_epilogue="Begin with:  carrara demo   and then:  carrara train photos/\n\n"
    "--no-verify, with any command: do not look for damage in models' files before they are used.",
    help_format="plaintext",
    result_action="return_value",
    default_parameter=Parameter(validator=check_finite),
)
inspect = App(name="inspect", help="Look into a run, a picture, a noise schedule, or data.")
app.command(inspect)
LATER = {
    **SHARING,
    "edit": (
        "carrara.cli.edits:edits",
        "Makes new samples of your own: carrara edit RUN VERB FILE ...",
    ),
    "export": (
        "carrara.export.command:export",
        """Writes a model as another program reads it: a folder for stock diffusers, without custom code.

    Examples:
        carrara export runs/photos --to diffusers --out photos-diffusers
        carrara export runs/digits --to diffusers --class 7 --out sevens
        carrara export runs/digits --to onnx --int8 --out digits-onnx
        carrara export openmoji --to page --out openmoji-page
        carrara export runs/photos --consolidate
    """,
    ),
    "import": (
        "carrara.export.command:import_model",
        """Makes a run of a model that another program has written, which is sampled, edited and served like any other.

    Examples:
        carrara import ddpm-celebahq-256 --run runs/faces
        carrara import photos-diffusers --run runs/photos-again
    """,
    ),
    "sample": (
        "carrara.cli.sample:command_sample",
        """Draws samples from a run. Each PNG carries its recipe: 'carrara replay' remakes it.

    Examples:
        carrara sample runs/photos -n 16
        carrara sample runs/digits 3 7 --guidance 2
        carrara sample runs/digits 3:0.5+8:0.5 --sampler ddim --steps 50
        carrara sample openmoji "a red heart" "dog face" -n 6
        carrara sample openmoji "a red heart | a star" "a red heart::0.7 | a star::0.3"
        carrara sample openmoji "a (purple:1.4) cat face" --vary guidance=1,2,4,8
        carrara sample runs/digits 7 --guidance 3 --negative 1 --method apg
        carrara sample runs/photos --guidance 2 --weak runs/photos/checkpoints/step-1000
        carrara sample runs/photos --size 96x256 --tile 64
        carrara sample runs/photos --classifier runs/judge --class cat --classifier-scale 3
        carrara sample runs/photos -n 10000 --launch 4
    """,
    ),
    "serve": (
        "carrara.serve.command:serve",
        """Opens the studio: a page in the browser, and an API, for one's own models. Nothing leaves this machine.

    Examples:
        carrara serve
        carrara serve runs/photos openmoji --port 8000
        carrara serve --host 0.0.0.0 --token SECRET
    """,
    ),
}
"""Commands that are loaded when they run, with their helps: their options are fields of what needs torch."""
for _name, (_place, _help) in LATER.items():
    app.command(_place, name=_name, help=_help)
app.command(bench)
app.command(data_commands)
app.command(finetune)
app.command(distill)


@app.command
def demo(*overrides: str, run: Path = Path("runs/demo")) -> None:
    """Draws emoji from words, then trains on handwritten digits and shows what came out; in minutes on two cores.

    Examples:
        carrara demo
        carrara demo train.minutes=5

    Parameters
    ----------
    overrides
        Changes to the recipe, key=value.
    run
        Where to put the run.
    """
    from carrara.cli import commands

    commands.run_demo(run, overrides)


@app.command
def train(
    data: str | None = None,
    /,
    *overrides: str,
    preset: str | None = None,
    run: Path | None = None,
    dry_run: bool = False,
    no_tune: bool = False,
    launch: int | None = None,
    plan: str | None = None,
) -> int | None:
    """Trains a model on a folder, or on digits, openmoji or swissroll. Run it again to go on where it stopped.

    Examples:
        carrara train photos/
        carrara train photos/ data.size=64 train.minutes=240
        carrara train openmoji --preset sprites --run runs/sprites
        carrara train photos/ --dry-run
        carrara train photos/ --launch 4 train.shard=full
        carrara train photos/ train.shard=full --plan gpus=128,memory=80,link=400

    Parameters
    ----------
    data
        A folder of pictures, sounds or MIDI files, an array, a table, shards or their address (s3://bucket/shards), or
        a built-in data set. Without it, the preset's.
    overrides
        Changes to the recipe, key=value, such as train.steps=5000 or model.schedule=linear.
    preset
        A preset ('carrara presets' lists them), or a recipe file ending in .yaml.
    run
        The run's folder; runs/ and the name of the data, if not given.
    dry_run
        Build everything, make one step, estimate time and memory; write nothing.
    no_tune
        Leave out the measurement, before a long training, of which way through each layer is the fastest here.
    launch
        Train in so many processes of this machine, one for each GPU, which share every batch: prints what torchrun
        would be told, and runs it.
    plan
        Train nothing, but estimate memory, messages, time and costs on gpus=128 of memory=80 GB, on hosts of per_host=8
        with a link=400 Gbit/s; inner=3600 Gbit/s between GPUs of a host, flops=989 TFLOP/s of a GPU at most, of which
        utilisation=0.35 is reached, price=2.5 of a GPU's hour. All but gpus and price may be left out, with commas.
    """
    from carrara.cli import commands, planning

    if data is not None and "=" in data and "://" not in data.partition("=")[0] and not Path(data).exists():
        data, overrides = None, (data, *overrides)
    overrides = (*overrides, *(["train.tune=false"] if no_tune else []))
    if plan is not None:
        planning.print_plan(plan, data, overrides, preset, run, alone=launch is None and not dry_run)
    elif launch is not None and not dry_run:
        return commands.train_together(launch, data, overrides, preset, run)
    else:
        commands.train_or_rehearse(data, overrides, preset, run, dry_run)
    return None


@app.command
def evaluate(
    run: Run,
    /,
    *,
    metrics: str | None = None,
    samples: int = 1000,
    features: str = "efficientnet-lite0",
    exact: bool = False,
    report: bool = False,
    out: Path | None = None,
    launch: int | None = None,
) -> int | None:
    """Measures a run on its held-out data; numbers and pictures go to the run's evaluation/.

    Examples:
        carrara evaluate runs/photos --metrics reconstruction
        carrara evaluate runs/vae --metrics nll,reconstruction
        carrara evaluate runs/photos --metrics kid,fid,prdc,memorisation --samples 2000
        carrara evaluate runs/photos --metrics fid,is --features inception:pt_inception-2015-12-05-6726825d.pth
        carrara evaluate runs/photos --report
        carrara evaluate runs/photos --metrics fid --samples 10000 --launch 4

    Parameters
    ----------
    metrics
        With commas between. reconstruction: PSNR, SSIM, perceptual distance, rFID, rKID, and what the latents are like.
        nll: the variational bound, in bits per dimension; of a variational autoencoder also in nats. flow: the
        likelihood by the probability flow, which takes longer. kid, fid, prdc (precision, recall, density, coverage):
        samples against held-out pictures; so do is, with inception:FILE, and cmmd, with clip:FOLDER. clip_score:
        samples against their captions, with clip:FOLDER. memorisation: whether samples repeat training pictures.
        retrieval: whether pictures drawn for 100 held-out captions are nearest to the right ones. spectrum: the spectra
        of generated sounds against those of held-out ones, by bands. kad: kernel distance of sounds, by their log-mel
        spectra over time. music: keys, voice leading and harmony of generated music, and how near its bars are to
        training bars. If neither metrics nor a report is asked for: reconstruction of an autoencoder, nll of all other
        runs.
    samples
        How many to draw, for kid, fid, prdc, cmmd, is, clip_score, memorisation, spectrum, kad and music.
    features
        What these look at: efficientnet-lite0, inception:FILE, clip:FOLDER or dinov2:FOLDER.
    exact
        The variational bound with all of its terms, each in the numbers and in a picture; else 64 of them are drawn.
    report
        Write one page about the run, with all that was measured so far, to its evaluation/report.html.
    out
        A folder in the place of evaluation/, for a run that can only be read.
    launch
        Measure in so many processes of this machine, one for each GPU, which share the work: prints what torchrun would
        be told, and runs it.
    """
    from carrara.cli import measuring

    return measuring.evaluate(run, metrics, out, report, launch, samples=samples, features=features, exact=exact)


@app.command
def compare(*runs: Path, out: Path = Path("runs/comparison.html")) -> None:
    """Puts runs side by side: what differs in their recipes, how they learned, what was measured, what they make.

    Examples:
        carrara compare runs/cosine runs/linear
        carrara compare runs/small runs/large --out small-or-large.html

    Parameters
    ----------
    runs
        Two runs' folders, or more.
    out
        Where to write the page.
    """
    from carrara.cli import looking

    looking.write_comparison(runs, out)


@app.command
def replay(image: Path, /, *, run: Path | None = None, out: Path | None = None, pictures: Path = Path()) -> None:
    """Remakes a file from the recipe that it carries, and says whether it came out the same.

    Examples:
        carrara replay runs/digits/samples/sample-1/grid.png
        carrara replay runs/digits/samples/img2img/a-1.png --pictures photos/

    Parameters
    ----------
    image
        A PNG, MIDI or WAV file that 'carrara sample' or 'carrara edit' wrote.
    run
        The run's folder, if it has moved.
    out
        Where to write it again; beside the old one, if not given.
    pictures
        The folder of the files that an edit was made of; the one you are in, if not given.
    """
    from carrara.cli import commands

    commands.make_again(image, run, out, pictures)


@app.command
def presets() -> None:
    """Lists the presets, and what each is for.

    Examples:
        carrara presets
    """
    from carrara.cli import commands

    commands.list_presets()


@inspect.default
def inspect_run(run: Run, /) -> None:
    """Says what is in a run's folder, and how it went; or how a picture of Carrara's was made.

    Examples:
        carrara inspect runs/photos
        carrara inspect runs/photos/samples/img2img/a-1.png
        carrara inspect schedule scaled_linear
    """
    from carrara.cli import looking

    looking.run(run)


@inspect.command(name="data")
def inspect_data(
    path: str,
    /,
    *overrides: str,
    findings: Annotated[Path | None, Parameter(name="--list")] = None,
    out: Path | None = None,
) -> None:
    """Shows what is in a folder or a file of data, what it is taken as, and what may be wrong; changes nothing.

    Says how large pictures are, which classes and captions they have, and which are damaged, copies or nearly so,
    blurred, blank or turned; what is in MIDI files, sounds, arrays and tables, and which of them cannot be used. Draws
    a contact sheet. What was found of pictures is remembered, so the next time is quick.

    Examples:
        carrara inspect data photos/
        carrara inspect data photos.zip data.source.classes=none
        carrara inspect data photos/ --list findings.csv
        carrara inspect data songs/ --list songs.csv

    Parameters
    ----------
    path
        A folder or a zip file of pictures or sounds, a folder of MIDI files or arrays, an array, or a table.
    overrides
        What it is taken as, key=value: keys of data.source, such as data.source.classes=deep.
    findings
        A file to write all findings to, as CSV: file, finding, detail, other; of what are no pictures, a row for each
        file, example or column.
    out
        The folder for the contact sheet, in which nothing is overwritten. Without it, runs/data/NAME.
    """
    from carrara.cli import looking

    looking.data(path, overrides, findings, out)


@inspect.command(name="schedule")
def inspect_schedule(
    name: str, /, *overrides: str, steps: int | None = None, image: Path | None = None, out: Path | None = None
) -> None:
    """Says how a schedule destroys the data, whether its end is noise, and how many steps that takes; and draws it.

    Examples:
        carrara inspect schedule scaled_linear
        carrara inspect schedule linear --steps 250
        carrara inspect schedule cosine --image cat.png --out noised/
        carrara inspect schedule runs/photos zero_terminal_snr=true

    Parameters
    ----------
    name
        linear, scaled_linear, cosine, sigmoid, rectified_flow or ve; or a run's folder.
    overrides
        Changes to the schedule, key=value.
    steps
        How many steps: T of a discrete schedule, and of the picture's way into noise.
    image
        The picture that becomes noise; a handwritten digit, if not given.
    out
        The folder for the pictures; runs/schedules/NAME, if not given.
    """
    from carrara.cli import looking

    looking.describe_schedule(name, overrides, steps, image, out)
