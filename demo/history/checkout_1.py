"""Turns a cart into an order."""

from shop.cart import Cart


def place_order(cart: Cart) -> dict:
    if not cart.items:
        raise ValueError("the cart is empty")
    return {"total_cents": cart.total_cents()}
