"""What a tab shows, as an address that opens it: see address.js, which makes it the address of the page."""

from dataclasses import dataclass
from html import escape
from typing import Self
from urllib.parse import urlencode

FIRST_TAB = "generate"  # its addresses do not name it


@dataclass(frozen=True)
class Mark:
    """address: the query that opens what is shown; state: all that is shown, as a query."""

    address: str
    state: str

    @classmethod
    def of(cls, tab: str, fields: list[tuple[str, str]], is_home: bool = False, preset: str = "") -> Self:
        """Mark what a tab shows. is_home: it shows that when an address names no fields. preset: what they are."""
        asked = [("tab", tab)] if tab != FIRST_TAB else []
        query = urlencode(asked if is_home else asked + fields)
        named = [("preset", preset)] if preset else []
        return cls(f"?{query}" if query else "", urlencode([("tab", tab), *named, *fields]))

    @property
    def attributes(self) -> str:
        """The mark as attributes of an HTML element."""
        return f' data-address="{escape(self.address)}" data-state="{escape(self.state)}"'
