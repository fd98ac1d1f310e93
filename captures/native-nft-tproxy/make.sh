#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

settings=(--set values.global.nativeNftables=true --set meshConfig.defaultConfig.interceptionMode=TPROXY)
pods=client,outsider,details,productpage
traffic() {
  try 'a service' app client "${status[@]}" http://details:9080/details/0
  try 'plain text from outside the mesh' app outsider "${status[@]}" "http://$(service_ip details):9080/details/0"
  try 'a pod calls its own service' app productpage "${status[@]}" http://productpage:9080/
  try 'a pod calls its own address' app productpage "${status[@]}" "http://$(pod_ip productpage):9080/"
}

situation "$@"
