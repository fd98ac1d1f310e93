#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=bypass,outsider
objects() {
  cat <<'Y'
apiVersion: v1
kind: Pod
metadata:
  name: bypass
  labels: {app: bypass}
  annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "9080", traffic.sidecar.istio.io/excludeInboundPorts: "8090"}
spec: {containers: [{name: bypass, image: "lab/plainhttp", args: ["8090"], ports: [{containerPort: 8090}]}]}
Y
}
traffic() {
  try 'outbound, excluded' app bypass "${status[@]}" http://productpage:9080/
  try 'outbound, not excluded' app bypass curl -s -m 2 telnet://echo:9000 </dev/null
  try 'inbound, excluded' app outsider "${status[@]}" "http://$(pod_ip bypass):8090/"
  try 'inbound, not excluded, nothing listens' app outsider "${status[@]}" "http://$(pod_ip bypass):8091/"
}

situation "$@"
