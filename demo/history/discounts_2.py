"""Discounts and how they are shared between the items of a cart."""

from shop.cart import Item


def split_discount(discount_cents: int, items: list[Item]) -> dict[str, int]:
    """Shares a discount evenly between the items in stock; the first one gets what is left over."""
    available = [item for item in items if item.in_stock]
    share, rest = divmod(discount_cents, len(available))
    shares = {item.name: share for item in available}
    shares[available[0].name] += rest
    return shares
