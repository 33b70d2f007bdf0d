"""The account book: what was received, where it stands, what became of it and where it went."""

from service.book.account import Account, Problem
from service.book.book import Book, open_book
from service.book.database import migrate, open_engine
from service.book.queries import DeliverySummary, InstanceSummary, RoleStatus, StudyDetail, StudySummary
from service.book.states import DeliveryState, InstanceState, StudyState

__all__ = [
    "Account",
    "Book",
    "DeliveryState",
    "DeliverySummary",
    "InstanceState",
    "InstanceSummary",
    "Problem",
    "RoleStatus",
    "StudyDetail",
    "StudyState",
    "StudySummary",
    "migrate",
    "open_book",
    "open_engine",
]
