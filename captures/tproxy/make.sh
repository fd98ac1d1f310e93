#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

settings=(--set meshConfig.defaultConfig.interceptionMode=TPROXY)
pods=client,outsider,details
traffic() {
  try 'a service' app client "${status[@]}" http://details:9080/details/0
  try 'a pod address' app client "${status[@]}" "http://$(pod_ip details):9080/details/0"
  try 'plain text from outside the mesh' app outsider "${status[@]}" "http://$(service_ip details):9080/details/0"
  try 'a port without a service' app outsider "${status[@]}" "http://$(pod_ip details):7777/"
}

situation "$@"
