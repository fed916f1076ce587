"""What the customer is shown after the order."""


def receipt_line(name: str, price_cents: int, currency: str = "EUR") -> str:
    return f"{name:<20} {price_cents / 100:>8.2f} {currency}"
