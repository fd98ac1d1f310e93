#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

traffic() { "$lab_folder/traffic/bookinfo"; }

situation "$@"
