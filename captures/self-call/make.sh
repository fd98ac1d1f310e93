#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=productpage
traffic() {
  try 'by its service' app productpage "${status[@]}" http://productpage:9080/
  try 'by its own address' app productpage "${status[@]}" "http://$(pod_ip productpage):9080/"
  try 'over loopback' app productpage "${status[@]}" http://127.0.0.1:9080/
}

situation "$@"
