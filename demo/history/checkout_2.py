"""Turns a cart into an order."""

from shop.cart import Cart
from shop.discounts import split_discount


def place_order(cart: Cart, discount_cents: int = 0) -> dict:
    if not cart.items:
        raise ValueError("the cart is empty")
    shares = split_discount(discount_cents, cart.items)
    return {
        "total_cents": cart.total_cents() - sum(shares.values()),
        "discounts": shares,
    }
