"""Tests of what the harness reads and writes: `python3 -m unittest discover bench`."""

import pathlib
import tempfile
import unittest

import report
import works


class Report(unittest.TestCase):
    def test_lines_of_libraries_are_passed_over(self):
        text = 'W1123 triton not found\n{"peer": "JAX", "value": 2.5}\n\nwarning {}\n'
        self.assertEqual(report.parse_lines(text), [{"peer": "JAX", "value": 2.5}])

    def test_ratios_are_of_pairs(self):
        base = {"work": "W1", "peer": "PyTorch", "mode": "eager"}
        pairs = [{**base, "ours": ours, "theirs": theirs} for ours, theirs in [(10, 5), (30, 10), (8, 8)]]
        (row,) = report.summarize(pairs)
        self.assertEqual((row["ours"], row["theirs"], row["ratio"]), (10, 8, 2))
        self.assertEqual(row["ratios"], [1, 2, 3])
        line = "| W1 | PyTorch | eager | 10 | 8 | samples/s | **2.00** | 1.00, 3.00 |"
        self.assertEqual(report.comparison_table([row]).splitlines()[2], line)

    def test_the_fastest_peer_has_the_lowest_ratio(self):
        rows = [{"work": "W1", "peer": peer, "mode": "a+b", "ratio": ratio} for peer, ratio in [("x", 2), ("y", 1.5)]]
        self.assertTrue(report.fastest_table(rows).endswith("| W1 | y, a + b | **1.50** |"))

    def test_exponents_of_powers(self):
        self.assertAlmostEqual(report.exponent([(size, 3 * size**1.5) for size in (1, 2, 8, 32)]), 1.5)

    def test_a_section_is_replaced_and_the_rest_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "page.md"
            path.write_text("a\n<!-- t -->\nold\n<!-- end of t -->\nb\n")
            report.write_section(path, "t", "new")
            report.write_section(path, "t", "newer")
            self.assertEqual(path.read_text(), "a\n<!-- t -->\n\nnewer\n\n<!-- end of t -->\nb\n")
            self.assertRaises(SystemExit, report.write_section, path, "u", "new")


class Works(unittest.TestCase):
    def test_operations_of_a_perceptron(self):
        # Forward 1.337, weight gradients as many, input gradients of all but the first layer: 3.21 million.
        self.assertEqual(works.flops("W1"), 2 * (3 * (784 * 512 + 512 * 512 + 5120) - 784 * 512))

    def test_a_resnet_of_twenty_layers_has_forty_million_products(self):
        # He et al. 2015 count 0.27 million weights and about 41 million multiplications for ResNet-20.
        self.assertAlmostEqual(sum(works.resnet_products(3)) / 1e6, 40.8, delta=0.5)


if __name__ == "__main__":
    unittest.main()
