#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=client,productpage
traffic() {
  app client node /opt/lab/apps/kept-alive.mjs 16 500 http://productpage:9080/secret/1 &
  sleep 2
  mesh apply /dev/stdin <<'Y'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: productpage-closed}
spec: {selector: {matchLabels: {app: productpage}}, action: DENY, rules: [{to: [{operation: {paths: ["/secret*"]}}]}]}
Y
  try 'a new connection, from outside the mesh' app outsider "${status[@]}" "http://$(service_ip productpage):9080/secret/2"
  wait
  mesh kubectl delete authorizationpolicy/productpage-closed >/dev/null
}

situation "$@"
