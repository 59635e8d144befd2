#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of the plugin, the API client and the command lines under the other supported Pythons.
# It looks in ~/.pyenv/versions and on PATH. A version that is not at hand is named, and does not count as passed.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests="tests/plugin tests/footprint tests/extender/test_cli.py tests/extender/test_cleanup.py tests/nodeagent/test_settings.py"
ran=0
for version in 3.12 3.13; do
  python=
  for candidate in "$HOME"/.pyenv/versions/"$version".*/bin/python "$(command -v "python$version" || true)"; do
    if [ -x "$candidate" ] && "$candidate" -c '' 2>/dev/null; then python=$candidate; break; fi
  done
  if [ -z "$python" ]; then echo "== Python $version is not at hand: not tested"; continue; fi
  echo "== Python $version: $python"
  environment=build/python-$version
  [ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
  "$environment/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements/development.txt
  # shellcheck disable=SC2086
  "$environment/bin/python" -m pytest -q -p no:cacheprovider \
    -m "not netns and not cluster and not kernel" $tests
  ran=1
done
[ "$ran" = 1 ] || { echo "error: no other supported Python is at hand; install one, such as python3.13"; exit 1; }
