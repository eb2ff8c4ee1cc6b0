"""What OpenAI's clients send, with the fields of ``Ask`` besides: the extensions are no list of their own.

A size is WIDTHxHEIGHT here, as OpenAI has it, and nowhere else.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from carrara.docs import field_docs
from carrara.draw import Ask
from carrara.errors import UserError
from carrara.serve.blame import blaming

NOT_SAID = frozenset({"prompts", "count", "size"})
"""The fields of ``Ask`` that OpenAI has in its own words: prompt, n and size."""
SEVERAL = frozenset(name for name, hint in get_type_hints(Ask).items() if hint == tuple[str, ...]) - NOT_SAID
"""Those that can be said several times."""
IGNORED = (
    *("quality", "style", "background", "moderation", "user", "safety_identifier", "output_compression"),
    "input_fidelity",
)
"""What OpenAI's clients may send, and what changes nothing here."""
Word = Annotated[str, Field(max_length=200)]


class OpenAiBody(BaseModel):
    """What OpenAI has."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model: Word | None = None
    n: Annotated[int, Field(ge=1, le=1000)] | None = None
    size: Annotated[str, Field(max_length=40, description="WIDTHxHEIGHT, or auto.")] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["png", "webp", "jpeg"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    quality: Word | None = None
    style: Word | None = None
    background: Word | None = None
    moderation: Word | None = None
    user: Word | None = None
    safety_identifier: Word | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    input_fidelity: Word | None = None

    @property
    def form(self) -> Literal["png", "webp", "jpeg"]:
        """The format of the pictures that come."""
        return self.output_format or "png"

    @property
    def height_by_width(self) -> str | None:
        """``size`` as Carrara has it.

        Raises:
            UserError: it is none.
        """
        if self.size in (None, "auto"):
            return None
        if (found := re.fullmatch(r"(\d{1,6})x(\d{1,6})", self.size)) is None:
            with blaming("size"):
                raise UserError(f"'{self.size}' is no size: say WIDTHxHEIGHT, as in 96x64, or auto")
        return f"{found[2]}x{found[1]}"

    @property
    def asked(self) -> dict[str, Any]:
        """The fields of ``Ask`` that are said."""
        names = {field.name for field in fields(Ask)} - NOT_SAID
        own = {name: value for name, value in self if name in names}
        prompt: str | None = getattr(self, "prompt", None)
        return {**own, "prompt": prompt or None, "count": self.n or 1, "size": self.height_by_width}


def _extensions() -> dict[str, Any]:
    """The fields of ``Ask``, each of the type that JSON has for it, with its docs."""
    hints, docs = get_type_hints(Ask), field_docs(Ask)
    made = dict[str, Any]()
    for field in fields(Ask):
        if field.name not in NOT_SAID:
            made[field.name] = (_typed(hints[field.name]), Field(None, description=docs.get(field.name, "")))
    return made


def _typed(hint: Any) -> Any:
    if hint == tuple[str, ...]:
        return list[Word] | None
    kinds = get_args(hint) or (hint,)
    for kind in (bool, int, float):
        if kind in kinds and str not in kinds:
            return kind | None
    return tuple[float, float] | None if any(getattr(one, "__origin__", None) is tuple for one in kinds) else str | None


Generation: Any = create_model(
    "Generation", __base__=OpenAiBody, prompt=(Annotated[str, Field(max_length=1 << 16)], ""), **_extensions()
)
"""The body of ``/v1/images/generations``."""
Edit: Any = create_model(
    "Edit",
    __base__=OpenAiBody,
    prompt=(Annotated[str | None, Field(max_length=1 << 16)], None),
    verb=(
        str | None,
        Field(None, max_length=200, description="What is done to the pictures; inpaint with a mask, or else img2img."),
    ),
    **_extensions(),
)
"""The fields of ``/v1/images/edits`` and ``/v1/images/variations`` that are no files; a verb's own come besides."""


def as_request(body: Any, kind: str = "application/json", files: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The part of a schema that describes a body."""
    schema = body.model_json_schema()
    if files:
        schema["properties"] |= files
        schema["additionalProperties"] = True
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}
