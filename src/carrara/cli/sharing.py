"""Commands that bring models and what is known of them elsewhere, with their helps; they are loaded when they run."""

SHARING = {
    "card": (
        "carrara.share.command:card",
        """Writes a model card, README.md with what the Hub reads, of what a run's folder tells.

    Examples:
        carrara card runs/photos
        carrara card runs/photos --license cc-by-4.0 --note "Photos of my own cats."
    """,
    ),
    "pull": (
        "carrara.share.command:pull",
        """Brings a model from the Hub, of one commit, compared with its hashes; nothing of it is run.

    Examples:
        carrara pull ada/faces --run runs/faces
        carrara pull ada/faces@v1 --run runs/faces --dry-run
    """,
    ),
    "push": (
        "carrara.share.command:push",
        """Sends a model to the Hub, with its recipe and its card; no data, and no names of folders on this machine.

    Examples:
        carrara push runs/photos --to ada/photos --dry-run
        carrara push runs/photos --to ada/photos --private
        carrara push runs/photos --to ada/photos --revision smaller --checkpoints
    """,
    ),
    "track": (
        "carrara.share.trackers.command:track",
        """Shows a training in TensorBoard, Weights & Biases, MLflow or trackio, while it goes on or afterwards.

    Examples:
        carrara track runs/photos --to tensorboard --follow
        carrara track runs/photos --to mlflow --out experiments/
        carrara track runs/photos --to wandb
    """,
    ),
}
"""By name, the function and the help."""
