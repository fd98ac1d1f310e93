#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=client,outsider,details
objects() {
  cat <<'Y'
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: details-strict}
spec: {selector: {matchLabels: {app: details}}, mtls: {mode: STRICT}}
Y
}
traffic() {
  try 'mutual TLS' app client "${status[@]}" http://details:9080/details/0
  try 'plain text to the service' app outsider "${status[@]}" "http://$(service_ip details):9080/details/0"
  try 'plain text to the pod' app outsider "${status[@]}" "http://$(pod_ip details):9080/details/0"
  try 'TLS of its own' app outsider "${status[@]}" "https://$(pod_ip details):9080/details/0"
}

situation "$@"
