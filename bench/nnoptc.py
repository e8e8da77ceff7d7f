"""nnoptc's side of the works: writes data and pipelines, runs the binary, reads what it measured."""

import json
import os
import pathlib
import statistics
import subprocess
import time

import numpy

from works import IMAGES, OPTIMIZERS, PHOTOS, PRODUCTS, WORKS, layers

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Nnoptc:
    def __init__(self, binary, folder, threads=2, device="cpu", kernels=None):
        """`folder` takes data and runs; `kernels` is the program of `cargo bench --bench cpu_kernels`."""
        self.binary, self.folder = pathlib.Path(binary).resolve(), pathlib.Path(folder)
        self.threads, self.device, self.kernels = threads, device, kernels
        self.turn = 0

    def training(self, name, shape, classes, batch, steps, epochs, model, optimizer):
        """Writes made-up data and a pipeline; returns the pipeline's path."""
        random = numpy.random.default_rng(1)
        rows = batch * steps
        x = random.standard_normal((rows, *shape)).astype(numpy.float32)
        y = (numpy.arange(rows) % classes).astype(numpy.int64)
        return self.pipeline(name, x, y, "", model, optimizer, batch, epochs)

    def pipeline(self, name, x, y, more, model, optimizer, batch, epochs):
        numpy.savez(self.folder / f"{name}.npz", x=x, y=y)
        return self.write(name, f'train = npz("{name}.npz")', more, model, optimizer, batch, epochs)

    def write(self, name, data, more, model, optimizer, batch, epochs):
        path = self.folder / f"{name}.nnopt"
        path.write_text(
            f"nnopt 1\ndata {{\n{data}\n}}\n{more}\nmodel {{\n{model}\n}}\nloss = cross_entropy\n"
            f"optimizer = {optimizer}\ntrain {{ epochs = {epochs}; batch = {batch} }}\n"
        )
        return path

    def run(self, path, threads=None, precision="f32"):
        """Runs a pipeline: the speed of each epoch, seconds of the whole process, and its peak resident bytes."""
        self.turn += 1
        out = self.folder / f"run-{path.stem}-{self.turn}"
        command = [self.binary, "run", path, "--out", out, "-q", "--device", self.device]
        command += ["--threads", str(threads or self.threads), "--set", f"train.precision={precision}"]
        seconds, peak = timed(command)
        events = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        speeds = [event["samples_per_second"] for event in events if event["event"] == "epoch"]
        return speeds, seconds, peak

    def explained(self, path):
        """What a run of a pipeline says on stderr with -v."""
        self.turn += 1
        command = [self.binary, "-v", "run", path, "--out", self.folder / f"run-{path.stem}-{self.turn}"]
        command += ["--device", self.device, "--threads", str(self.threads)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr

    def speed(self, work, photos=None, precision="f32"):
        """The speed of a work, in its unit; the first epoch warms up, as on the other side."""
        if work.startswith("W5"):
            return self.product(int(work.split()[1]))
        if work == "W6":
            return statistics.median(self.run(self.images())[0][1:])
        if work.startswith("W7"):
            epochs = int(work.split()[1])
            return epochs * PHOTOS["rows"] / self.run(self.photographs(photos, epochs))[1]
        path = self.folder / f"{work}.nnopt"
        if not path.exists():
            self.training(work, **WORKS[work], model=layers(work), optimizer=OPTIMIZERS[work])
        return statistics.median(self.run(path, precision=precision)[0][1:])

    def images(self):
        """The input path alone: a model of one layer, whose time is counted as well."""
        path = self.folder / "W6.nnopt"
        if not path.exists():
            x = numpy.random.default_rng(1).integers(0, 256, (IMAGES["rows"], 3, 32, 32), dtype=numpy.uint8)
            y = numpy.arange(IMAGES["rows"]) % 2
            augment = "augment {\nrandom_crop(32, padding = 4)\nhorizontal_flip\nrandom_rotation(10)\n}"
            model = "flatten -> linear(classes)"
            self.pipeline("W6", x, y, augment, model, "sgd(lr = 1e-3)", IMAGES["batch"], IMAGES["epochs"])
        return path

    def photographs(self, photos, epochs):
        size = PHOTOS["size"]
        data = f'train = image_folder("{photos}", resize = {size}, channels = 3)\nnormalize = auto'
        model = "global_avg_pool -> flatten -> linear(classes)"
        return self.write(f"W7-{epochs}", data, "", model, "sgd(lr = 1e-3)", PHOTOS["batch"], epochs)

    def product(self, size):
        """GFLOP/s of a product of matrices."""
        if size not in PRODUCTS:
            raise ValueError(f"no product of {size}")
        command = [self.kernels or program_of("cpu_kernels"), "--json", f"matmul {size}³"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        for line in map(json.loads, lines):
            if line["threads"] == self.threads:
                return line["operations"] / line["seconds"] * 1e-9
        raise RuntimeError(f"no product of {size} with {self.threads} threads in {lines}")


    def product_on_gpu(self, size, operands):
        """GFLOP/s of a product of matrices on the adapter, whose factors are of the type."""
        command = [self.kernels or program_of("gpu_products"), "--json", "--device", self.device, str(size)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return product_speed(map(json.loads, lines), size, operands)


def product_speed(lines, size, operands):
    """GFLOP/s among the lines of the benchmark gpu_products."""
    for line in lines:
        if (line["size"], line["type"]) == (size, operands):
            return line["operations"] / line["seconds"] * 1e-9
    raise RuntimeError(f"there is no product of {size} with {operands}")


def timed(command):
    """Runs a command: seconds and peak resident bytes; what it says is shown only if it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{error.decode(errors='replace')}")
    return seconds, usage.ru_maxrss * 1024


def program_of(benchmark):
    """Builds a benchmark and returns its path."""
    command = ["cargo", "bench", "--bench", benchmark, "--no-run", "--message-format", "json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    for line in map(json.loads, output.splitlines()):
        if line.get("target", {}).get("name") == benchmark and line.get("executable"):
            return line["executable"]
    raise RuntimeError(f"cargo built no {benchmark}")
