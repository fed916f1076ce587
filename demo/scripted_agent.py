"""A scripted stand-in for a coding agent, used by `patchwright demo` only.

It is NOT an AI: it knows the one bug of the sample repository and applies a change that was written beforehand. It
talks to Patchwright the way a real agent does: prompt on standard input, edits in the current folder, a result file.
"""

import json
import os
import pathlib
import subprocess
import sys

OLD = """    available = [item for item in items if item.in_stock]
    share, rest = divmod(discount_cents, len(available))
"""
NEW = """    available = [item for item in items if item.in_stock]
    if not available:
        # Nothing is left that a discount could lower the price of.
        return {}
    share, rest = divmod(discount_cents, len(available))
"""
TEST = """
    def test_a_cart_with_nothing_in_stock_gets_no_discount(self):
        self.assertEqual(split_discount(100, [Item("mug", 1200, in_stock=False)]), {})
"""
MARK = "\n\nif __name__ =="


def say(text):
    print(f"[scripted agent] {text}", flush=True)


def main():
    prompt = sys.stdin.read()
    say("I am a script, not an AI: I apply a change that was written beforehand.")
    error = "ZeroDivisionError in split_discount"
    named = all(word in prompt for word in error.split(" in "))
    say(f"read the prompt ({len(prompt)} characters); it {'names' if named else 'does not name'} {error}")

    source = pathlib.Path("shop/discounts.py")
    text = source.read_text()
    if OLD not in text:
        say("this is not the sample repository; I change nothing")
        return 1
    source.write_text(text.replace(OLD, NEW))
    say("changed shop/discounts.py: no share where nothing is in stock")

    test = pathlib.Path("tests/test_discounts.py")
    head, mark, tail = test.read_text().partition(MARK)
    test.write_text(head + TEST + mark + tail)
    say("added a regression test to tests/test_discounts.py")

    tests = [sys.executable, "-m", "unittest", "discover", "-s", "tests", "-t", "."]
    passed = subprocess.run(tests, capture_output=True, check=False).returncode == 0
    say(f"ran the tests: {'they pass' if passed else 'they fail'}")

    result = {
        "verdict": "fix",
        "root_cause": "Since items out of stock are left out, `available` can be empty, and the discount is divided by "
        "its length: a cart whose items have all sold out raises ZeroDivisionError at checkout.",
        "summary": "Return no shares when no item is in stock, before dividing. The order then goes through without a "
        "discount.",
        "tests": ["tests.test_discounts.SplitDiscount.test_a_cart_with_nothing_in_stock_gets_no_discount"],
    }
    pathlib.Path(os.environ["PATCHWRIGHT_RESULT_FILE"]).write_text(json.dumps(result))
    say("wrote the result file")
    return 0


if __name__ == "__main__":
    sys.exit(main())
