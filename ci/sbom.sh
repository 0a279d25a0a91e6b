#!/usr/bin/env bash
# Prints the bill of materials of the program as CycloneDX JSON: every crate that is compiled into it or runs while it is
# built, with version, license and checksum. Needs cargo and jq.
#
#     ci/sbom.sh [TARGET]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(cargo metadata --no-deps --format-version 1 | jq -r '.packages[] | select(.name == "sagellm-cli").version')

# Name, version and checksum of each locked crate.
checksums() {
    awk -F'"' '/^\[\[package\]\]/ { name = version = "" } /^name = / { name = $2 } /^version = / { version = $2 }
        /^checksum = / { print name "\t" version "\t" $2 }' Cargo.lock
}

cargo tree --locked -p sagellm-cli --target "$target" --edges normal,build --prefix none --no-dedupe --format '{p}|{l}' |
    sed -E 's/ \([^|]*\)//g' | sort -u |
    jq --raw-input --slurp --arg version "$version" --arg target "$target" --rawfile checksums <(checksums) '
        ($checksums | split("\n") | map(select(. != "") | split("\t") | {key: "\(.[0]) \(.[1])", value: .[2]})
            | from_entries) as $sha256
        | split("\n") | map(select(. != "") | capture("^(?<name>[^ ]+) v(?<version>[^ |]+)[|](?<license>.*)$"))
        | {
            bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
            metadata: {
                component: {type: "application", name: "sagellm-benchmark", version: $version},
                properties: [{name: "target", value: $target}]
            },
            components: map({
                type: "library", name, version, purl: "pkg:cargo/\(.name)@\(.version)",
                licenses: (if .license == "" then [] else [{expression: (.license | gsub(" */ *"; " OR "))}] end)
            } + ($sha256["\(.name) \(.version)"] as $hash
                | if $hash then {hashes: [{alg: "SHA-256", content: $hash}]} else {} end))
        }'
