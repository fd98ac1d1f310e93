#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=client,h2
objects() {
  cat <<'Y'
apiVersion: v1
kind: Service
metadata: {name: h2}
spec: {selector: {app: h2}, ports: [{name: grpc, port: 7000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: h2, labels: {app: h2, version: v1}}
spec: {containers: [{name: h2, image: "lab/h2c", args: ["7000"], ports: [{containerPort: 7000}]}]}
Y
}
traffic() {
  try 'one call, a connection of its own' app client "${status[@]}" --http2-prior-knowledge http://h2:7000/health
  try 'four calls at once on one connection' app client node /opt/lab/apps/h2-calls.mjs together http://h2:7000 /shop.Cart/Add /shop.Cart/List /shop.Cart/Remove /shop.Stock/Count
  try 'three calls, one after another' app client node /opt/lab/apps/h2-calls.mjs in-turn http://h2:7000 /shop.Cart/Add /shop.Cart/List /shop.Cart/Remove
}

situation "$@"
