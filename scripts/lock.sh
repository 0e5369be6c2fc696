#!/usr/bin/env bash
# Compile the pins in pyproject.toml into requirements/*.txt: every package that gets installed,
# with its hashes and without an index's address. Called by `make lock`; ARGS are passed on to uv
# (ARGS=--upgrade moves every indirect pin to its newest version).
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-.venv/bin/uv}
locks=requirements
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

find_links=()
for place in ${PIP_FIND_LINKS:-}; do find_links+=(--find-links "$place"); done

compile() {
    "$uv" pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --excludes $locks/excludes.txt --custom-compile-command "make lock" \
        "${find_links[@]}" "$@"
}

# --no-emit-package for every package that the given locks hold already.
all_but() { sed -nE 's/^([a-z0-9._-]+)==.*/--no-emit-package \1/p' "$@"; }

# After a blank line uv ends a lock with the list of what it left out: noise in a diff.
drop_footer() { sed -i '/^$/,$d' "$@"; }

# The build backend named in pyproject.toml, as one requirement a line.
build_backend() { sed -nE '/^requires = /{s/^[^[]*\[|\]|[" ]//g;s/,/\n/g;p}' pyproject.toml; }

echo "cpu.txt, torch-cpu.txt: the runtime"
cat $locks/cpu.txt $locks/torch-cpu.txt >"$work/cpu.txt" 2>/dev/null || true
compile pyproject.toml --extra cpu "$@" --output-file "$work/cpu.txt"
awk -v locks=$locks '/^[^ #]/ { torch = /^torch==/ }
    { print > (locks (torch ? "/torch-cpu.txt" : "/cpu.txt")) }' "$work/cpu.txt"

echo "build.txt: what installs phi3-bento itself"
# shellcheck disable=SC2046 # one word per package is meant
build_backend | compile - --constraint $locks/cpu.txt $(all_but $locks/cpu.txt) "$@" \
    --output-file $locks/build.txt

echo "semantic.txt: the semantic cache"
# shellcheck disable=SC2046 # one word per package is meant
compile pyproject.toml --extra cpu --extra semantic \
    --constraint $locks/cpu.txt --constraint $locks/torch-cpu.txt --constraint $locks/build.txt \
    $(all_but $locks/{cpu,torch-cpu,build}.txt) "$@" --output-file $locks/semantic.txt

echo "fleet.txt: the router of a fleet"
# shellcheck disable=SC2046 # one word per package is meant
compile pyproject.toml --extra cpu --extra semantic --extra fleet \
    --constraint $locks/cpu.txt --constraint $locks/torch-cpu.txt --constraint $locks/build.txt \
    --constraint $locks/semantic.txt $(all_but $locks/{cpu,torch-cpu,build,semantic}.txt) "$@" \
    --output-file $locks/fleet.txt

echo "dev.txt: tests, checks, load generator"
# shellcheck disable=SC2046 # one word per package is meant
compile pyproject.toml --extra cpu --extra semantic --extra fleet --extra dev --extra load \
    --constraint $locks/cpu.txt --constraint $locks/torch-cpu.txt --constraint $locks/build.txt \
    --constraint $locks/semantic.txt --constraint $locks/fleet.txt \
    $(all_but $locks/{cpu,torch-cpu,build,semantic,fleet}.txt) "$@" --output-file $locks/dev.txt

drop_footer $locks/build.txt $locks/semantic.txt $locks/fleet.txt $locks/dev.txt
