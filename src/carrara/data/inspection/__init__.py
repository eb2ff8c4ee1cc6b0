"""Looking into a folder of pictures before a model is trained on it: ``examining`` decodes them, ``looks`` puts what
one sees into numbers, ``alike`` finds copies, and ``report`` says it all."""

from carrara.data.inspection.inspecting import inspect_folder, write_findings
from carrara.data.inspection.report import Colours, DataReport, Finding
from carrara.data.inspection.sheet import Row, contact_rows, sheet_picture, sheet_text

__all__ = [
    "Colours",
    "DataReport",
    "Finding",
    "Row",
    "contact_rows",
    "inspect_folder",
    "sheet_picture",
    "sheet_text",
    "write_findings",
]
