"""Trained models where they are kept: opened once, by the names of runs, and written small to be shipped."""

from carrara.store.latents import Encoding
from carrara.store.opened import OpenModel, Store
from carrara.store.runs import open_model, shipped
from carrara.store.shipping import ship, ship_beside, working_folder

__all__ = ["Encoding", "OpenModel", "Store", "open_model", "ship", "ship_beside", "shipped", "working_folder"]
