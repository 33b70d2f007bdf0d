"""Which model package the operator ordered: it counts before the configuration's until it is taken back."""

from __future__ import annotations

from sqlalchemy import Engine

from service.book.database import reading, writing
from service.book.tables import BookFact

_FACT = "model_path"


def ordered_model(engine: Engine) -> str | None:
    """Path of the ordered package; None where the configuration decides."""
    with reading(engine) as session:
        fact = session.get(BookFact, _FACT)
        return fact.value if fact else None


def order_model(engine: Engine, path: str | None) -> None:
    """Order a package for every worker; None leaves it to the configuration again."""
    with writing(engine) as session:
        fact = session.get(BookFact, _FACT)
        if path is None:
            if fact is not None:
                session.delete(fact)
        elif fact is None:
            session.add(BookFact(name=_FACT, value=path))
        else:
            fact.value = path
