#!/usr/bin/env python3
"""Make torch importable on a machine without the GPU libraries.

The torch wheel for Linux links against GPU libraries of about 3 GB. The CPU
part never calls them, but the loader wants each file to exist and each symbol
to resolve. This script writes an empty library for each missing file. Every
function in it aborts, so a call by mistake cannot give a wrong number.

usage: make_stubs.py SITE_PACKAGES        needs gcc and readelf
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def readelf(flag, path):
    return subprocess.run(["readelf", "-W", flag, str(path)], check=True,
                          capture_output=True, text=True).stdout


def needed(path):
    return re.findall(r"NEEDED.*\[(.+?)\]", readelf("-d", path))


def undefined(path):
    """Yield (symbol, version or None) for each symbol that others must define."""
    for line in readelf("--dyn-syms", path).splitlines():
        cols = line.split()
        if len(cols) >= 8 and cols[6] == "UND" and cols[4] == "GLOBAL":
            name, _, version = cols[7].partition("@")
            yield name, version.lstrip("@") or None


def defined(path):
    for line in readelf("--dyn-syms", path).splitlines():
        cols = line.split()
        if len(cols) >= 8 and cols[6] != "UND" and cols[0][:1].isdigit():
            yield cols[7].partition("@")[0]


def version_owner(path):
    """Map each needed version name to the library that must provide it."""
    owner, lib = {}, None
    for line in readelf("-V", path).splitlines():
        if m := re.search(r"File: (\S+)\s+Cnt:", line):
            lib = m[1]
        elif (m := re.search(r"Name: (\S+)\s+Flags:.*Version:", line)) and lib:
            owner[m[1]] = lib
    return owner


def write_stub(out, lib, symbols):
    """symbols: name -> version or None."""
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        versions = {}
        for name, version in sorted(symbols.items()):
            if version:
                versions.setdefault(version, []).append(name)
        asm = "".join(f".globl {n}\n.type {n},@function\n{n}:\n ud2\n"
                      for n in sorted(symbols))
        (tmp / "stub.s").write_text(".text\n" + asm + '.section .note.GNU-stack,"",@progbits\n')
        script = "".join(f"{v} {{ global: {'; '.join(names)}; }};\n"
                         for v, names in sorted(versions.items()))
        (tmp / "stub.map").write_text(script)
        command = ["gcc", "-shared", "-nostdlib", "-o", out / lib, tmp / "stub.s",
                   f"-Wl,-soname,{lib}"]
        if script:
            command.append(f"-Wl,--version-script={tmp / 'stub.map'}")
        subprocess.run(list(map(str, command)), check=True)


def main(site):
    torch_lib = site / "torch" / "lib"
    present = sorted(torch_lib.glob("*.so*"))
    gpu = sorted(site.glob("nvidia/*/lib/*.so*"))
    have = {p.name for p in present + gpu}
    # Not libcuda.so: the driver is looked for at run time, a fake one would be believed.
    gpu_name = re.compile(r"lib(cublas|cudnn|cufft|cufile|cusolver|cusparse|cudart|cupti|nv|nccl)")
    stubs, loose = {}, set()
    for path in present:
        if path.name.startswith("libcaffe2_nvrtc"):
            continue                      # opened only when a GPU is used
        missing = [n for n in needed(path) if n not in have and gpu_name.match(n)]
        for lib in missing:
            stubs.setdefault(lib, {})
        if not missing:
            continue
        owner = version_owner(path)
        for name, version in undefined(path):
            if version is None:
                loose.add(name)
            elif owner.get(version) in stubs:
                stubs[owner[version]][name] = version
    for path in present + gpu:
        loose -= set(defined(path))
    if not stubs:
        print("nothing is missing")
        return
    # Symbols without a version may live in any library: put them in the first.
    first = sorted(stubs)[0]
    for name in loose:
        stubs[first].setdefault(name, None)
    for lib, symbols in sorted(stubs.items()):
        write_stub(torch_lib, lib, symbols)
        print(f"{lib}: {len(symbols)} symbols")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
