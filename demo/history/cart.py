"""What a customer is about to buy."""

from dataclasses import dataclass, field


@dataclass
class Item:
    name: str
    price_cents: int
    in_stock: bool = True


@dataclass
class Cart:
    items: list[Item] = field(default_factory=list)

    def total_cents(self) -> int:
        return sum(item.price_cents for item in self.items)
