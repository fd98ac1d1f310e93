#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=client
objects() {
  cat <<'Y'
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api-example}
spec: {hosts: [api.example], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 8081, name: http, protocol: HTTP}], endpoints: [{address: 198.51.100.1}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure-example}
spec: {hosts: [secure.example], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 8443, name: tls, protocol: TLS}], endpoints: [{address: 198.51.100.1}]}
Y
}
traffic() {
  local servers=()
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -keyout "$LAB/outside.key" -out "$LAB/outside.crt" -subj /CN=secure.example 2>/dev/null
  "$lab_folder/mesh" outside node "$lab_folder/apps/servers.mjs" http 8081 & servers+=($!)
  "$lab_folder/mesh" outside node "$lab_folder/apps/servers.mjs" tls 8443 "$LAB/outside.crt" "$LAB/outside.key" & servers+=($!)
  sleep 1
  try 'known by its Host' app client "${status[@]}" --resolve api.example:8081:198.51.100.1 http://api.example:8081/x
  try 'a Host nobody declared' app client "${status[@]}" http://198.51.100.1:8081/y
  try 'known by its SNI' app client "${status[@]}" --resolve secure.example:8443:198.51.100.1 https://secure.example:8443/
  try 'an SNI nobody declared' app client "${status[@]}" --resolve other.example:8443:198.51.100.5 https://other.example:8443/
  try 'a port nobody declared, closed' app client "${status[@]}" http://198.51.100.1:8099/
  kill "${servers[@]}"
}

situation "$@"
