# Sourced by captures/*/make.sh: makes one recording again, from nothing.
#
# The script sets, and then calls `situation "$@"`:
#   settings   (optional) more words for `istioctl manifest generate`, an array
#   pods       which pods are recorded: beginnings of names with commas between, or '' for all
#   objects    (optional) a function that prints what is applied to the cluster beforehand and removed afterwards
#   prepare    (optional) a function that runs after that, before the recording
#   traffic    a function: what happens while it is recorded
# shellcheck shell=bash
set -euo pipefail
situation_folder=$(cd "$(dirname "${BASH_SOURCE[-1]}")" && pwd)
lab_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LAB=${LAB:-/tmp/lab-mesh}
export BIN=${BIN:-/var/cache/sidetrace-lab/bin}
settings=() pods='' largest_bytes=$((2 * 1024 * 1024))

mesh() { "$lab_folder/mesh" "$@"; }
app() { mesh app "$@"; }
service_ip() { mesh kubectl get service "$1" -o jsonpath='{.spec.clusterIP}'; }
pod_ip() { mesh kubectl get pod -A -l "app=$1" -o jsonpath='{.items[0].status.podIP}'; }
try() { # try WHAT COMMAND…: prints what was tried and how it ended; a failure is often the point
  local what=$1
  shift
  printf '%s: ' "$what"
  "$@" || true
  echo
}
status=(curl -sk -m 5 -o /dev/null -w '%{http_code} ')

# Brings the lab up with these settings; one that is up with the same settings is taken as it is.
lab() {
  local wanted="${settings[*]:-}"
  if ip netns list | grep -q '^lab-'; then
    [ "$(cat "$LAB/settings" 2>/dev/null)" != "$wanted" ] || return 0
    mesh down
  fi
  ISTIO_SET=$wanted mesh up
  sleep 15 # until what starts with a pod has come to rest
  printf '%s\n' "$wanted" >"$LAB/settings"
}

pack() { # pack FOLDER FILE: the same bytes for the same content
  tar -C "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - . | gzip -n9 >"$2"
}

keep() { # keep FOLDER: packs what was recorded there into the situation's folder
  rm -rf "$situation_folder"/node-*.tar.gz "$situation_folder/truth"
  for node in "$1"/node-*; do pack "$node" "$situation_folder/$(basename "$node").tar.gz"; done
  cp -r "$1/truth" "$situation_folder/truth"
  local bytes
  bytes=$(du -sb "$situation_folder" | cut -f1)
  echo "$situation_folder: $bytes bytes"
  [ "$bytes" -le "$largest_bytes" ] || { echo "Cannot keep the recording: at most $largest_bytes bytes are wanted, they are $bytes" >&2; return 1; }
}

situation() {
  if [ "${1:-}" = traffic ]; then
    traffic
    return
  fi
  [ "$(id -u)" = 0 ] || { echo "Cannot record: root is needed, this is user $(id -u)" >&2; return 1; }
  lab
  local out manifest
  out=$(mktemp -d)
  manifest=$out/objects.yaml
  if declare -F objects >/dev/null; then
    objects >"$manifest"
    mesh apply "$manifest"
  fi
  ! declare -F prepare >/dev/null || prepare
  mesh record --pods "$pods" "$out/recorded" bash "$0" traffic || true
  [ ! -e "$manifest" ] || mesh delete "$manifest"

  keep "$out/recorded"
  rm -rf "$out"
}
