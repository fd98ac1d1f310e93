#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=headless,outsider
objects() {
  cat <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: headless, labels: {app: headless}}
spec: {containers: [{name: headless, image: "lab/plainhttp", args: ["8080"], ports: [{containerPort: 8080}]}]}
Y
}
# Envoy and pilot-agent go before the recording begins: nothing can be asked of them then, and the rules still stand.
prepare() {
  # shellcheck disable=SC2016 # expanded in the pod
  mesh pod headless sh -c 'for p in $(ss -ltnpH "sport >= 15000 and sport <= 15090" | grep -o "pid=[0-9]*" | cut -d= -f2 | sort -u); do kill -9 "$p"; done'
  sleep 1
}
traffic() {
  try 'outbound' app headless "${status[@]}" "http://$(service_ip productpage):9080/"
  try 'inbound' app outsider "${status[@]}" "http://$(pod_ip headless):8080/"
  try 'over loopback' app headless "${status[@]}" http://127.0.0.1:8080/
}

situation "$@"
