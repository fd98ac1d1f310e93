#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=client,details,ratings
traffic() {
  try 'one local port, three destinations' app client /usr/bin/python3 /opt/lab/apps/same-port.py 40404 \
    "$(service_ip details):9080" "$(service_ip reviews):9080" "$(pod_ip details):9080"
}

situation "$@"
