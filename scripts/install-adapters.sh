#!/usr/bin/env bash
# Installs two software Vulkan adapters, so that the GPU tests run on a machine without a GPU:
#
#   lavapipe     Mesa's CPU driver, version 25 or later (subgroups of 8, f16)
#   SwiftShader  Chromium's CPU driver, unpacked into .cache/swiftshader/ (subgroups of 4, no f16)
#
#   scripts/install-adapters.sh          install what is missing, then print VK_ICD_FILENAMES
#   scripts/install-adapters.sh --env    the same, printing shell exports: eval "$(scripts/install-adapters.sh --env)"
#
# Does nothing, and asks no package server, when both are there. Runs as root or through sudo on Debian and its
# relatives; elsewhere it says what is missing and how to get it. A driver from somewhere else is taken as it is:
#
#   LAVAPIPE_ICD=…/lvp_icd.json SWIFTSHADER_ICD=…/vk_swiftshader_icd.json scripts/install-adapters.sh
#
# Exit codes: 0 both adapters are there, 2 usage, 3 something is missing and cannot be installed here.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache/swiftshader
apt_etc=/etc/apt
mesa_wanted=25

print_env=false
case "${1-}" in
    '') ;;
    --env) print_env=true ;;
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

say() { printf '%s\n' "$*" >&2; }

# Everything for people goes to stderr, so that `eval` sees the exports only.
quietly() {
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then rm -f "$log"; return 0; fi
    say "failed: $*"
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 1
}

# ---- what is there ---------------------------------------------------------------------------------------------

is_debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

installed_version() { dpkg-query -W -f='${db:Status-Abbrev}${Version}' "$1" 2>/dev/null | sed -n 's/^ii *//p' | head -n 1; }

candidate_version() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -v '(none)' || true; }

is_new_mesa() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$mesa_wanted"; }

has_loader() {
    if is_debian; then [ -n "$(installed_version libvulkan1)" ]; return; fi
    { ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null; } | grep -q 'libvulkan\.so\.1'
}

# The driver's description file: lvp_icd.x86_64.json on Debian, lvp_icd.json elsewhere.
lavapipe_icd() {
    if [ -n "${LAVAPIPE_ICD-}" ]; then [ -f "$LAVAPIPE_ICD" ] && printf '%s\n' "$LAVAPIPE_ICD"; return 0; fi
    # Mesa 22 of Debian 12 ends long loops without a word. It must not pass for a reference.
    if is_debian && ! is_new_mesa "$(installed_version mesa-vulkan-drivers)"; then return 0; fi
    local file
    for file in /usr/share/vulkan/icd.d/lvp_icd."$(uname -m)".json /usr/share/vulkan/icd.d/lvp_icd*.json \
                /usr/local/share/vulkan/icd.d/lvp_icd*.json; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; return 0; fi
    done
}

swiftshader_icd() {
    if [ -n "${SWIFTSHADER_ICD-}" ]; then [ -f "$SWIFTSHADER_ICD" ] && printf '%s\n' "$SWIFTSHADER_ICD"; return 0; fi
    if [ -s "$cache/libvk_swiftshader.so" ]; then
        write_swiftshader_icd
        printf '%s\n' "$cache/vk_swiftshader_icd.json"
    fi
}

# The loader wants an absolute path, so the file is written anew after the repository has moved.
write_swiftshader_icd() {
    local file=$cache/vk_swiftshader_icd.json library text
    library=$(printf '%s' "$cache/libvk_swiftshader.so" | sed 's/[\\"]/\\&/g')
    text=$(printf '{ "file_format_version": "1.0.0",\n  "ICD": { "library_path": "%s", "api_version": "1.3.0" } }' "$library")
    if [ -f "$file" ] && [ "$(cat "$file")" = "$text" ]; then return 0; fi
    printf '%s\n' "$text" >"$file.$$"
    mv -f "$file.$$" "$file"
}

# ---- installing ------------------------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" -eq 0 ]; then env DEBIAN_FRONTEND=noninteractive "$@"
    else sudo env DEBIAN_FRONTEND=noninteractive "$@"; fi
}

may_install() { is_debian && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }; }

lists_are_fresh=false
update_lists() {
    if $lists_are_fresh; then return 0; fi
    say 'reading the package lists'
    quietly as_root apt-get update
    lists_are_fresh=true
}

# Package lists on a machine may be absent or old: try, and on failure update them and try again.
install_packages() {
    say "installing $*"
    if $lists_are_fresh; then quietly as_root apt-get install -y --no-install-recommends "$@"; return; fi
    as_root apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 </dev/null && return 0
    update_lists && quietly as_root apt-get install -y --no-install-recommends "$@"
}

# Prints the machine's own package source, changed to the suite $2-backports, for the release $2.
#   backports_source sources FILE RELEASE     a deb822 file
#   backports_source list    FILE RELEASE     a one-line-per-source file
backports_source() {
    case $1 in
        sources) awk -v release="$3" '
            BEGIN { RS = ""; FS = "\n" }
            { matches = 0; disabled = 0
              for (i = 1; i <= NF; i++) {
                  if ($i ~ /^Enabled:[ \t]*no/) disabled = 1
                  if ($i !~ /^Suites:/) continue
                  n = split($i, words, /[ \t]+/)
                  for (j = 2; j <= n; j++) if (words[j] == release) { matches = 1; $i = "Suites: " release "-backports" } }
              if (!matches || disabled) next
              for (i = 1; i <= NF; i++) if ($i !~ /^#/) print $i
              exit }' "$2" ;;
        list) awk -v release="$3" '
            $1 == "deb" { for (i = 2; i <= NF; i++) if ($i == release) { $i = release "-backports"; print; exit } }' "$2" ;;
    esac
}

add_backports() {
    local release=$1 file kind text
    if LC_ALL=C apt-cache policy 2>/dev/null | grep -q "n=$release-backports"; then return 0; fi
    for file in "$apt_etc/sources.list.d/debian.sources" "$apt_etc/sources.list" \
                "$apt_etc"/sources.list.d/*.sources "$apt_etc"/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        kind=${file##*.}
        text=$(backports_source "$kind" "$file" "$release")
        if [ -z "$text" ]; then continue; fi
        say "adding $release-backports to the package sources"
        printf '%s\n' "$text" | as_root tee "$apt_etc/sources.list.d/nnoptc-backports.$kind" >/dev/null
        lists_are_fresh=false
        return 0
    done
    say "no package source for $release was found under $apt_etc"
    return 1
}

install_lavapipe() {
    update_lists || return 1
    if is_new_mesa "$(candidate_version mesa-vulkan-drivers)"; then
        install_packages libvulkan1 mesa-vulkan-drivers
        return
    fi
    local id='' release=''
    if [ -r /etc/os-release ]; then
        id=$(. /etc/os-release; printf '%s' "${ID-}")
        release=$(. /etc/os-release; printf '%s' "${VERSION_CODENAME-}")
    fi
    [ "$id" = debian ] && [ -n "$release" ] || return 1
    add_backports "$release" && update_lists || return 1
    install_packages -t "$release-backports" libvulkan1 mesa-vulkan-drivers
}

# Takes the one library out of the package; nothing of Chromium is installed.
install_swiftshader() {
    local work member=./usr/lib/chromium/libvk_swiftshader.so
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/download.XXXXXX")
    say 'downloading SwiftShader (from the package chromium-common)'
    if ! { download_package "$work" chromium-common \
           && dpkg-deb --fsys-tarfile "$work"/chromium-common_*.deb | tar -x -C "$work" "$member" \
           && mv -f "$work/$member" "$cache/libvk_swiftshader.so"; }; then
        rm -rf "$work"
        return 1
    fi
    rm -rf "$work"
}

download_package() {
    local get=(apt-get download -o APT::Sandbox::User=root "$2")
    if (cd "$1" && "${get[@]}") >/dev/null 2>&1 </dev/null; then return 0; fi
    if may_install; then update_lists || return 1; fi
    (cd "$1" && quietly "${get[@]}")
}

# ---- the whole -------------------------------------------------------------------------------------------------

if [ -z "$(lavapipe_icd)" ] && [ -z "${LAVAPIPE_ICD-}" ] && may_install; then install_lavapipe || true; fi
if ! has_loader && may_install; then install_packages libvulkan1 || true; fi
if [ -z "$(swiftshader_icd)" ] && [ -z "${SWIFTSHADER_ICD-}" ] && is_debian; then install_swiftshader || true; fi

lavapipe=$(lavapipe_icd)
swiftshader=$(swiftshader_icd)
missing=()

if ! has_loader; then
    missing+=("the Vulkan loader (libvulkan.so.1)
    Debian, Ubuntu: apt-get install libvulkan1
    Fedora:         dnf install vulkan-loader
    Arch:           pacman -S vulkan-icd-loader
    macOS, Windows: not needed, the tests use Metal and Direct3D 12 there")
fi
if [ -z "$lavapipe" ]; then
    missing+=("lavapipe, Mesa's CPU driver, version $mesa_wanted or later
    Debian 13, Ubuntu 25.04 and later: apt-get install mesa-vulkan-drivers
    Debian 12:  apt-get install -t bookworm-backports mesa-vulkan-drivers
    Fedora:     dnf install mesa-vulkan-drivers
    Arch:       pacman -S vulkan-swrast
    or name its description file in LAVAPIPE_ICD")
fi
if [ -z "$swiftshader" ]; then
    missing+=("SwiftShader, Chromium's CPU driver
    Debian:     apt-get download chromium-common, and usr/lib/chromium/libvk_swiftshader.so of it into .cache/swiftshader/
    elsewhere:  every installed Chrome, Chromium or Electron program has libvk_swiftshader.so and vk_swiftshader_icd.json
                in its folder; name that .json file in SWIFTSHADER_ICD")
fi
if [ "${#missing[@]}" -gt 0 ]; then
    say 'missing for the GPU tests:'
    for item in "${missing[@]}"; do say "  $item"; done
    if is_debian && ! may_install; then say 'this script installs them when run as root, or where there is sudo'; fi
    exit 3
fi

# Without a folder of its own the loader prints two lines at every instance.
runtime=${XDG_RUNTIME_DIR-}
if [ -z "$runtime" ] || [ ! -d "$runtime" ]; then
    runtime=$root/.cache/runtime
    mkdir -p "$runtime"
    chmod 0700 "$runtime"
fi

if $print_env; then
    printf 'export VK_ICD_FILENAMES=%q\n' "$lavapipe:$swiftshader"
    printf 'export XDG_RUNTIME_DIR=%q\n' "$runtime"
else
    printf 'VK_ICD_FILENAMES=%s\n' "$lavapipe:$swiftshader"
fi
