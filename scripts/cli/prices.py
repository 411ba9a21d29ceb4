"""The price tables in prices/: one dated file a cloud, data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML

PRICES = Path(__file__).parents[2] / "prices"
HOURS_PER_MONTH = 730  # as the clouds' own calculators have it
ANY_REGION = "*"


class PriceTableError(Exception):
    """A price table is not what it should be."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(_Shape):
    """What a machine size is, to compare clouds by."""

    vcpus: int
    memory_gb: float


class StateItem(_Shape):
    """How one thing that is paid for shows in the engine's state."""

    kind: str
    name: str  # the path of a property, or "=NAME"
    count: str = ""  # the path of a property; "" is 1
    region: str = "region"  # the path of a property


class _Kind(_Shape):
    unit: Literal["hour", "month"]
    names: dict[str, dict[str, float]]


class _File(_Shape):
    date: date
    checked: bool
    currency: str
    usd_per_unit: float
    sources: list[str]
    sizes: dict[str, Size]
    kinds: dict[str, _Kind]
    state: dict[str, list[StateItem]] = {}


@dataclass(frozen=True)
class PriceTable:
    """What one cloud charges by the month, in USD before tax."""

    cloud: str
    date: date  # of writing down
    checked: bool  # whether each figure was held against the sources
    sources: tuple[str, ...]
    sizes: Mapping[str, Size]
    prices: Mapping[tuple[str, str], Mapping[str, float]]  # (kind, name) -> region -> USD a month
    state: Mapping[str, list[StateItem]]  # the engine's resource type -> what is paid for it

    def monthly_usd(self, region: str, kind: str, name: str) -> float | None:
        """Return what one of these costs a month; None where the table does not know."""
        by_region = self.prices.get((kind, name), {})
        return by_region.get(region, by_region.get(ANY_REGION))

    def regions(self, size: str) -> set[str]:
        """Return the regions for which a machine size has a price of its own."""
        return set(self.prices.get(("machine", size), {})) - {ANY_REGION}


def load_tables(directory: Path = PRICES) -> dict[str, PriceTable]:
    """Return cloud -> table.

    Raises:
        PriceTableError: A file has another shape.
    """
    return {path.stem: _load(path) for path in sorted(directory.glob("*.yaml"))}


def _load(path: Path) -> PriceTable:
    try:
        read = _File.model_validate(YAML(typ="safe").load(path.read_text()))
    except ValidationError as invalid:
        first = invalid.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PriceTableError(f"prices/{path.name}: {place}: {first['msg']}") from None
    prices = {}
    for kind, entry in read.kinds.items():
        factor = read.usd_per_unit * (HOURS_PER_MONTH if entry.unit == "hour" else 1)
        for name, by_region in entry.names.items():
            prices[kind, name] = {region: price * factor for region, price in by_region.items()}
    return PriceTable(path.stem, read.date, read.checked, tuple(read.sources), read.sizes, prices, read.state)
