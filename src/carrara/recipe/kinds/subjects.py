"""Subjects: what is said of the few pictures of one, and the word that is learned for it."""

from collections.abc import Mapping

import torch

from carrara.conditioning import (
    AnyConditioner,
    ClipTextConfig,
    EncodedTextConfig,
    LabelsConfig,
    LearnedText,
    LearnedTextConfig,
    UnconditionalConfig,
)
from carrara.conditioning.tokens import reader_of
from carrara.data import Dataset, captions_of
from carrara.data.base import Cell
from carrara.errors import UserError
from carrara.model import DiffusionModel
from carrara.objective import AnyLearn, Token


def told_of(conditioner: AnyConditioner, learn: AnyLearn) -> AnyConditioner:
    """The condition of a model that learns, which has a word more if it is a word.

    Raises:
        UserError: it has no words that learn, or has this one already.
    """
    if not isinstance(learn, Token):
        return conditioner
    if isinstance(conditioner, LearnedTextConfig):
        return conditioner.with_word(learn.word)
    if isinstance(conditioner, EncodedTextConfig | ClipTextConfig):
        name = "clip" if isinstance(conditioner, ClipTextConfig) else conditioner.source
        raise UserError(
            f"the text encoder '{name}' has the tokens that it began with, and takes no new word: learn a lora, or "
            "all, with a caption that names the subject"
        )
    raise UserError("this model reads no text, so it takes no new word: learn a lora, or all")


def columns_of(conditioner: AnyConditioner | None, said: str) -> tuple[Mapping[str, Cell], tuple[str, ...]]:
    """The columns that say to a model what a user types, and the names of the classes that they are of; captions are
    read elsewhere.

    Raises:
        UserError: it is not understood.
    """
    match conditioner:
        case LearnedTextConfig():
            reader = conditioner.build(1)
            assert isinstance(reader, LearnedText)
            if unread := reader.unread(said):
                raise UserError(f"this model cannot read '{unread[0]}' in '{said}': say it in other words")
            return {}, ()
        case EncodedTextConfig() | ClipTextConfig():
            return {}, ()
        case LabelsConfig():
            row = conditioner.build(1).parse(said) if said else torch.zeros(len(conditioner.classes))
            return {"label": row.numpy()}, conditioner.classes
        case UnconditionalConfig() | None:
            if said:
                raise UserError(
                    f"this model is told nothing, so '{said}' cannot be said to it: leave caption and prompt out"
                )
            return {}, ()
        case _:
            raise UserError("this model is told numbers, and no words: leave caption and prior out")


def check_classes(conditioner: AnyConditioner | None, data: Dataset) -> None:
    """Refuses data of other classes than a model knows.

    Raises:
        UserError: they are.
    """
    if isinstance(conditioner, LabelsConfig) and conditioner.classes != data.info.classes:
        known, others = (", ".join(names[:5]) or "none" for names in (conditioner.classes, data.info.classes))
        raise UserError(
            f"the model knows the classes {known}, and the data's are {others}: name the sub-folders as the model "
            "does, or say one class for all pictures, as in objective.caption=NAME"
        )


def check_said(conditioner: AnyConditioner | None, data: Dataset) -> None:
    """Refuses captions none of which says the newest word, which is to be learned.

    Raises:
        UserError: none does.
    """
    assert isinstance(conditioner, LearnedTextConfig)
    word, reader = conditioner.words[-1], reader_of(conditioner.vocabulary, conditioner.window, conditioner.words)
    said = (caption for k in range(len(data)) for caption in captions_of(data, k))
    if not any(reader.numbers - 1 in window.ids for caption in said for window in reader([caption])[0]):
        raise UserError(f"no caption says '{word}', which is to be learned: set objective.caption='a {word}'")


@torch.no_grad()
def with_new_word(model: DiffusionModel, begun: DiffusionModel, learn: Token) -> DiffusionModel:
    """A model with the weights of another one, of which a word more alone learns.

    Raises:
        UserError: the words that it begins with cannot be read.
    """
    model.load_state_dict({**model.state_dict(), **begun.state_dict()})
    model.fast = begun.fast
    reader = model.conditioner
    assert isinstance(reader, LearnedText)
    if unread := reader.unread(learn.begin):
        raise UserError(f"the word '{learn.word}' cannot begin as '{unread[0]}', which this model does not read")
    first = reader.embedding_of(learn.begin) if learn.begin.strip() else reader.table.mean(0)
    model.requires_grad_(False)
    reader.words[-1].copy_(first)
    reader.words[-1].requires_grad_(True)
    return model
