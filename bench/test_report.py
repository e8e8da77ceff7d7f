"""Tests of what the harness reads and writes: `python3 -m unittest discover bench`."""

import contextlib
import importlib.util
import io
import pathlib
import subprocess
import tempfile
import unittest

import graphics
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

    def test_a_resnet_of_eighteen_layers_for_small_images(self):
        # 0.56 GFLOPs of multiplications, and 11,173,962 weights, as kuangliu/pytorch-cifar's ResNet18.
        plan = list(works.resnet_plan(2, works.RESNET_WIDTHS["W8"]))
        self.assertEqual(plan, [(64, 1, False)] * 2 + [unit for channels in (128, 256, 512)
                                for unit in ((channels, 2, True), (channels, 1, False))])
        self.assertAlmostEqual(sum(works.products("W8")) / 1e9, 0.556, delta=0.002)
        text = works.layers("W8")
        self.assertTrue(text.startswith("conv2d(64, 3, padding = 1, bias = false) -> batch_norm -> relu\nresidual {"))
        self.assertEqual((text.count("residual {"), text.count("shortcut {")), (8, 3))


class Graphics(unittest.TestCase):
    def test_works_are_divided_by_size_and_known(self):
        self.assertEqual(list(graphics.works_of(["W8", "W5"])), ["W8", "W5 1024", "W5 2048", "W5 4096", "W5 8192"])
        self.assertRaises(SystemExit, list, graphics.works_of(["W6"]))
        for work in graphics.WORKS.split(","):
            self.assertTrue(work == "W5" or work in works.WORKS and work in works.OPTIMIZERS, work)

    def test_both_sides_have_the_same_precision(self):
        modes = graphics.peers("W8", "python", pathlib.Path("bench"))[0][2]
        self.assertEqual([graphics.precision(mode) for mode in modes], ["f32"] * 4 + ["mixed"] * 4)
        self.assertEqual([graphics.operands(mode) for mode in graphics.PRODUCT_MODES], ["f32", "f32", "f16"])
        # Products have no optimizer, perceptrons no images.
        self.assertEqual(graphics.peers("W5 1024", "python", pathlib.Path("bench"))[0][2], graphics.PRODUCT_MODES)
        self.assertFalse(any("channels_last" in mode for mode in graphics.peers("W1", "p", pathlib.Path("b"))[0][2]))

    def test_the_card_is_named_with_its_driver(self):
        def run(command, **_):
            self.assertEqual(command[0], "nvidia-smi")
            return subprocess.CompletedProcess(command, 0, "NVIDIA H100 80GB HBM3, 550.54.15\nanother, 1\n")

        self.assertEqual(graphics.machine(run), "NVIDIA H100 80GB HBM3, driver 550.54.15")

        def missing(command, **_):
            raise OSError(command)

        self.assertEqual(graphics.machine(missing), "a graphics card that nvidia-smi does not name")


@unittest.skipUnless(importlib.util.find_spec("numpy"), "compare.py needs NumPy")
class Arguments(unittest.TestCase):
    def test_where_it_runs_decides_on_the_works(self):
        import compare

        works_on = lambda *given: compare.arguments(["--nnoptc", "n", *given]).work
        self.assertEqual(works_on("--gpu", "RTX"), "W1,W2,W4,W5,W8")
        self.assertEqual(works_on("--gpu", "RTX", "--work", "W8"), "W8")
        self.assertEqual(works_on("--lavapipe", "a.json"), "W1,W2,W4")
        self.assertEqual(works_on(), "W1,W2,W3a,W3b,W4,W5,W6,W7")
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertRaises(SystemExit, works_on, "--gpu", "RTX", "--lavapipe", "a.json")

    def test_our_side_has_the_precision_of_the_mode(self):
        import compare

        class Ours:
            def speed(self, work, photos=None, precision="f32"):
                return work, precision

            def product_on_gpu(self, size, operands):
                return size, operands

        args = compare.arguments(["--nnoptc", "n", "--gpu", "RTX"])
        speed = lambda work, mode: compare.our_speed(Ours(), work, mode, None, args)
        self.assertEqual(speed("W8", "compiled+fused+amp"), ("W8", "mixed"))
        self.assertEqual(speed("W1", "eager+fused"), ("W1", "f32"))
        self.assertEqual(speed("W5 2048", "f16"), (2048, "f16"))

    def test_products_are_found_by_size_and_type(self):
        from nnoptc import product_speed

        line = {"size": 1024, "type": "f16", "operations": 2 * 1024**3, "seconds": 1e-3}
        self.assertAlmostEqual(product_speed([{**line, "type": "f32"}, line], 1024, "f16"), 2147.48, places=2)
        self.assertRaises(RuntimeError, product_speed, [line], 2048, "f16")


if __name__ == "__main__":
    unittest.main()
