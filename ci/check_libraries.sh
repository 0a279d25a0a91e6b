#!/usr/bin/env bash
# Checks that the program runs with nothing but the libraries that docs/USAGE.md names, in a directory that holds only these
# and the program. Linux only.
#
#     ci/check_libraries.sh PROGRAM
set -euo pipefail

program=${1:?name the program}
allowed='^(ld-linux.*|libc|libgcc_s|libm)\.so\.[0-9]+$'
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root/tmp" "$root/data"
cp "$program" "$root/program"
while read -r library; do
    if ! [[ $(basename "$library") =~ $allowed ]]; then
        echo "error: $program needs $library" >&2
        exit 1
    fi
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done < <(ldd "$program" | grep -o '/[^ ]*')

# Root in a namespace of its own is enough, where this is not run as root.
inside() {
    if [[ $(id -u) == 0 ]]; then chroot "$root" "$@"; else unshare --map-root-user chroot "$root" "$@"; fi
}
inside /program --version
inside /program run --model synthetic:tiny --workload short --num-prompts 2 --output /data/results --quiet >/dev/null
inside /program report --input /data/results --format markdown >/dev/null
