"""TensorBoard: a folder of event files for each training, under its name."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, final

from carrara.files import make_folder
from carrara.share.places import png
from carrara.share.trackers import Tracker
from carrara.share.trackers.reading import PREVIEWS, Entry, Stage

RECIPE = "recipe"


@final
class TensorBoard(Tracker):
    """Event files of scalars, in float32 as TensorBoard keeps them, of pictures, and of the recipe as a text."""

    def __init__(self, stage: Stage, place: Path | None) -> None:
        writing = import_module("tensorboard.summary.writer.event_file_writer")
        folder = (place or stage.beside / "tensorboard") / stage.name
        make_folder(folder)
        self._folder, self._stage = folder, stage
        self._events: Any = import_module("tensorboard.compat.proto.event_pb2")
        self._summaries: Any = import_module("tensorboard.compat.proto.summary_pb2")
        self._seen = self._read()
        self._writer: Any = writing.EventFileWriter(str(folder))
        if RECIPE not in self._seen:
            self._add(0, stage.began, [self._text()])
        self.where = f"tensorboard --logdir {place or folder.parent}"

    def _read(self) -> dict[str, int]:
        accumulating: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
        events = accumulating.EventAccumulator(str(self._folder))
        events.Reload()
        tags, found = events.Tags(), dict[str, int]()
        for tag in tags["scalars"]:
            kind = tag.rpartition("/")[0]
            found[kind] = max(found.get(kind, -1), events.Scalars(tag)[-1].step)
        for tag in tags["images"]:
            found[PREVIEWS] = max(found.get(PREVIEWS, -1), events.Images(tag)[-1].step)
        if any(tag.startswith(RECIPE) for tag in tags["tensors"]):
            found[RECIPE] = 0
        return found

    def seen(self) -> Mapping[str, int]:
        """The last steps of the event files."""
        return self._seen

    def write(self, entries: Sequence[Entry]) -> None:
        """An event for each entry."""
        value = self._summaries.Summary.Value
        for entry in entries:
            values = [value(tag=name, simple_value=number) for name, number in entry.named().items()]
            if entry.picture is not None:
                width, height = entry.picture.size
                content = {"encoded_image_string": png(entry.picture), "width": width, "height": height}
                values.append(value(tag=PREVIEWS, image=self._summaries.Summary.Image(colorspace=3, **content)))
            self._add(entry.step, entry.time, values)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()

    def _add(self, step: int, time: float, values: list[Any]) -> None:
        summary = self._summaries.Summary(value=values)
        self._writer.add_event(self._events.Event(wall_time=time, step=step, summary=summary))

    def _text(self) -> Any:
        """The recipe as a value of TensorBoard's plugin for texts."""
        tensors: Any = import_module("tensorboard.compat.proto.tensor_pb2")
        types: Any = import_module("tensorboard.compat.proto.types_pb2")
        metadata: Any = import_module("tensorboard.plugins.text.metadata")
        text = "\n".join(["| key | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in self._stage.config.items())])
        tensor = tensors.TensorProto(dtype=types.DT_STRING, string_val=[text.encode("utf-8", "replace")])
        told = metadata.create_summary_metadata(display_name="recipe", description="")
        return self._summaries.Summary.Value(tag=f"{RECIPE}/text_summary", tensor=tensor, metadata=told)
