#!/bin/sh
# Ask a running `ulfine serve` with nothing but curl.
#
#     ./curl.sh http://127.0.0.1:8000 picture.jpg [more.png ...]
set -eu
url=$1
shift

# Is it ready? -f lets curl fail unless the answer is 200.
curl -fsS "$url/v2/health/ready"
echo

# One picture, as it is.
curl -fsS --data-binary "@$1" -H 'Content-Type: application/octet-stream' "$url/classify?top=3"
echo

# Several, with their names.
for file in "$@"; do
    set -- "$@" -F "image=@$file"
    shift
done
curl -fsS "$@" "$url/classify?top=1"
echo
