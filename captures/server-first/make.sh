#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=client,echo
traffic() {
  try 'the server greets' app client timeout 5 bash -c "exec 3<>/dev/tcp/$(service_ip echo)/9000; head -1 <&3; echo ping >&3; head -1 <&3"
  mesh apply /dev/stdin <<'Y'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo-plain}
spec: {host: echo, trafficPolicy: {tls: {mode: DISABLE}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: echo-strict}
spec: {selector: {matchLabels: {app: echo}}, mtls: {mode: STRICT}}
Y
  try 'plain text into STRICT: nobody ever speaks' app client timeout 3 bash -c "exec 3<>/dev/tcp/$(service_ip echo)/9000; head -1 <&3"
  mesh kubectl delete destinationrule/echo-plain peerauthentication/echo-strict >/dev/null
}

situation "$@"
