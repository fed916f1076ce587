import unittest

from shop.cart import Item
from shop.discounts import split_discount


class SplitDiscount(unittest.TestCase):
    def test_it_is_shared_evenly_and_nothing_is_lost(self):
        shares = split_discount(100, [Item("tea", 450), Item("mug", 1200), Item("tin", 300)])
        self.assertEqual(shares, {"tea": 34, "mug": 33, "tin": 33})

    def test_items_out_of_stock_get_nothing(self):
        shares = split_discount(100, [Item("tea", 450), Item("mug", 1200, in_stock=False)])
        self.assertEqual(shares, {"tea": 100})


if __name__ == "__main__":
    unittest.main()
