#!/bin/sh
# Pin the images of compose.yaml and Dockerfile by digest, because a tag can move: ask Docker's registry for the digests
# and write images.yaml beside this file, or the given file. Use it with
# docker compose -f deploy/compose.yaml -f deploy/images.yaml up -d --build, and write it again when a version changes.
set -eu
here=$(dirname "$0")
file="${1:-$here/images.yaml}"
pinned() {
    digest=$(docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}')
    case "$digest" in
        sha256:????????????????????????????????????????????????????????????????) printf '%s@%s' "$1" "$digest" ;;
        *) echo "Docker returned no digest of $1, but: $digest" >&2; return 1 ;;
    esac
}
image() { sed -n "/^  $1:/,/^  [a-z]/s/^    image: *//p" "$here/compose.yaml"; }
postgres=$(pinned "$(image postgres)")
s3=$(pinned "$(image s3)")
python=$(pinned "python:$(sed -n 's/^ARG PYTHON=//p' "$here/Dockerfile")")
{
    printf '# Made by pin-images.sh: the versions of compose.yaml and Dockerfile, by digest.\nservices:\n'
    printf '  postgres: {image: "%s"}\n  s3: {image: "%s"}\n' "$postgres" "$s3"
    for service in bootstrap code web daemon pages stream kpi; do
        printf '  %s: {build: {args: {PYTHON: "%s"}}}\n' "$service" "${python#python:}"
    done
} > "$file.new"
mv "$file.new" "$file"
echo "Wrote the digests to $file."
