#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=narrow
objects() {
  cat <<'Y'
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow}
spec:
  workloadSelector: {labels: {app: narrow}}
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["./ratings.default.svc.cluster.local", "./echo.default.svc.cluster.local"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: narrow, labels: {app: narrow}}
spec: {containers: [{name: narrow, image: "lab/idle"}]}
Y
}
traffic() {
  try 'a service it may call' app narrow "${status[@]}" http://ratings:9080/ratings/0
  try 'a service hidden from it' app narrow "${status[@]}" http://details:9080/details/0
  try 'the world outside, HTTP' app narrow "${status[@]}" http://198.51.100.1:8081/
  try 'the world outside, TLS' app narrow "${status[@]}" https://198.51.100.1:8443/
}

situation "$@"
