"""All mutants, along the way of an event."""

from __future__ import annotations

from tests.mutants.announcing import ANNOUNCING
from tests.mutants.appending import APPENDING
from tests.mutants.connecting import CONNECTING
from tests.mutants.delivering import DELIVERING
from tests.mutants.owning import OWNING
from tests.mutants.supervising import SUPERVISING
from tests.mutants.writing import WRITING

__all__ = ["MUTANTS"]

MUTANTS = (
    *APPENDING,
    *WRITING,
    *ANNOUNCING,
    *DELIVERING,
    *OWNING,
    *SUPERVISING,
    *CONNECTING,
)
