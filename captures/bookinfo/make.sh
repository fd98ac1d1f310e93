#!/usr/bin/env bash
. "$(dirname "$0")/../../test/mesh/situation.sh"

traffic() { "$lab_folder/traffic/bookinfo"; }

situation "$@"
