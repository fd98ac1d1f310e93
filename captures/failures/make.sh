#!/usr/bin/env bash
. "$(dirname "$0")/../../test/mesh/situation.sh"

objects() { cat "$lab_folder/objects/failures.yaml"; }
traffic() { "$lab_folder/traffic/failures"; }

situation "$@"
