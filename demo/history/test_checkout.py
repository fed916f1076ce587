import unittest

from shop.cart import Cart, Item
from shop.checkout import place_order


class PlaceOrder(unittest.TestCase):
    def test_total_is_the_sum_of_the_prices(self):
        cart = Cart([Item("tea", 450), Item("mug", 1200)])
        self.assertEqual(place_order(cart)["total_cents"], 1650)

    def test_an_empty_cart_is_refused(self):
        with self.assertRaises(ValueError):
            place_order(Cart())


if __name__ == "__main__":
    unittest.main()
