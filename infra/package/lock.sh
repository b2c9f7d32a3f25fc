#!/usr/bin/env bash
# Writes new locks of the deploy units from pyproject.toml. Run it after a change of an extra, or of exclude-newer.
set -euo pipefail
cd "$(dirname "$0")/../.."
for unit in serve data train; do
  for provider in aws azure gcp; do
    uv pip compile --quiet pyproject.toml --extra "$unit" --extra "$provider" --universal --python-version 3.11 \
      --generate-hashes --no-emit-index-url --no-annotate --no-header \
      --output-file "infra/package/locks/$unit-$provider.txt" >/dev/null
  done
done
