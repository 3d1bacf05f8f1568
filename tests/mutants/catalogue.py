"""All mutants, along the way of an event."""

from __future__ import annotations

from tests.mutants.announcing import ANNOUNCING
from tests.mutants.appending import APPENDING
from tests.mutants.connecting import CONNECTING
from tests.mutants.delivering import DELIVERING
from tests.mutants.dropping import DROPPING
from tests.mutants.filtering import FILTERING
from tests.mutants.joining import JOINING
from tests.mutants.lending import LENDING
from tests.mutants.owning import OWNING
from tests.mutants.projecting import PROJECTING
from tests.mutants.recording import RECORDING
from tests.mutants.settling import SETTLING
from tests.mutants.sharing import SHARING
from tests.mutants.supervising import SUPERVISING
from tests.mutants.writing import WRITING

__all__ = ["MUTANTS"]

MUTANTS = (
    *APPENDING,
    *JOINING,
    *WRITING,
    *RECORDING,
    *ANNOUNCING,
    *DELIVERING,
    *DROPPING,
    *FILTERING,
    *OWNING,
    *SETTLING,
    *PROJECTING,
    *SUPERVISING,
    *CONNECTING,
    *SHARING,
    *LENDING,
)
