#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

settings=(--set values.global.nativeNftables=true --set meshConfig.defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE=true)
pods=client,details
traffic() {
  try 'a service by its name' app client "${status[@]}" http://details:9080/details/0
  try 'a name nobody knows' app client "${status[@]}" http://nobody.example:9080/
  try 'an address' app client "${status[@]}" "http://$(service_ip details):9080/details/0"
  try 'a name asked over TCP' app client /usr/bin/python3 /opt/lab/apps/dns-over-tcp.py details.default.svc.cluster.local
}

situation "$@"
