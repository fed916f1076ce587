"""Discounts and how they are shared between the items of a cart."""

from shop.cart import Item


def split_discount(discount_cents: int, items: list[Item]) -> dict[str, int]:
    """Shares a discount evenly between the items; the first one gets what is left over."""
    share, rest = divmod(discount_cents, len(items))
    shares = {item.name: share for item in items}
    shares[items[0].name] += rest
    return shares
