#!/usr/bin/env bash
# Builds what a release consists of into a directory: an archive of the program, its bill of materials, and checksums.
# Neither paths of the machine nor the time of the build get into the program.
#
#     ci/release.sh DIRECTORY [TARGET]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${1:?name the directory to write to}
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(cargo metadata --no-deps --format-version 1 | jq -r '.packages[] | select(.name == "sagellm-cli").version')
name=sagellm-benchmark-$version-$target

# No path of this machine in the program, and no time of the build.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/sagellm-benchmark --remap-path-prefix=$cargo_home=/cargo"
export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$PWD=/sagellm-benchmark"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0
cargo build --release --locked -p sagellm-cli --target "$target"
program=${CARGO_TARGET_DIR:-target}/$target/release/sagellm-benchmark
if grep -aqF -e "$cargo_home/" -e "$PWD/" "$program"; then
    echo "error: $program contains a path of this machine" >&2
    exit 1
fi

mkdir -p "$out"
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
mkdir "$files/$name"
cp "$program" README.md CHANGELOG.md SECURITY.md LICENSE "$files/$name"
tar --create --directory "$files" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode=u+rwX,go+rX,go-w "$name" | gzip --no-name --best >"$out/$name.tar.gz"
ci/sbom.sh "$target" >"$out/$name.cdx.json"
(cd "$out" && sha256sum "$name.tar.gz" "$name.cdx.json" >"$name.sha256")
