"""The account book: what was received, where it stands, what became of it and where it went."""

from service.book.account import Account, Problem
from service.book.book import Book, open_book
from service.book.database import migrate, open_engine
from service.book.queries import (
    DeliverySummary,
    InstanceSummary,
    RoleStatus,
    StudyCursor,
    StudyDetail,
    StudySummary,
)
from service.book.states import DeliveryState, InstanceState, StudyState
from service.book.stuck import Stuck
from service.book.trials import Trial

__all__ = [
    "Account",
    "Book",
    "DeliveryState",
    "DeliverySummary",
    "InstanceState",
    "InstanceSummary",
    "Problem",
    "RoleStatus",
    "Stuck",
    "StudyCursor",
    "StudyDetail",
    "StudyState",
    "StudySummary",
    "Trial",
    "migrate",
    "open_book",
    "open_engine",
]
