#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

objects() { cat "$lab_folder/objects/failures.yaml"; }
traffic() { "$lab_folder/traffic/failures"; }

situation "$@"
