#!/usr/bin/env bash
# No lab: one namespace with Istio's own rules for both families and a plain Envoy, one beside it that calls and is called.
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

work=${work:-$(mktemp -d)}
shop=sidetrace-shop peer=sidetrace-peer
inside() { ip netns exec "$@"; }
as_app() { inside "$shop" setpriv --reuid=1000 --regid=1000 --clear-groups "$@"; }

traffic() {
  try 'HTTP out, a listener for that address' as_app "${status[@]}" -g 'http://[fd00:5::20]:8080/items'
  try 'HTTP out, answered by the proxy' as_app "${status[@]}" -g 'http://[fd00:5::20]:8080/closed/1'
  try 'out, no listener: passed on' as_app "${status[@]}" -g 'http://[fd00:5::20]:8081/x'
  try 'IPv4, no listener: passed on' as_app "${status[@]}" http://10.5.0.20:8080/items
  try 'out, nothing listens there' as_app "${status[@]}" -g 'http://[fd00:5::20]:8099/'
  try 'in' inside "$peer" "${status[@]}" -g 'http://[fd00:5::10]:9080/shelf'
  try 'in, by IPv4' inside "$peer" "${status[@]}" http://10.5.0.10:9080/shelf
  try 'in, an excluded port' inside "$peer" "${status[@]}" -g 'http://[fd00:5::10]:15020/'
  try 'by its own address' as_app "${status[@]}" -g 'http://[fd00:5::10]:9080/shelf'
  try 'over loopback' as_app "${status[@]}" -g 'http://[::1]:9080/shelf'
}
if [ "${1:-}" = traffic ]; then
  traffic
  exit
fi

processes=()
clean() {
  [ ${#processes[@]} -eq 0 ] || kill "${processes[@]}" 2>/dev/null || true
  ip netns del "$shop" 2>/dev/null || true
  ip netns del "$peer" 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT

ip netns add "$shop"
ip netns add "$peer"
ip link add eth0 netns "$shop" type veth peer name eth0 netns "$peer"
for side in "$shop 10" "$peer 20"; do
  read -r space last <<<"$side"
  ip -n "$space" link set lo up
  ip -n "$space" addr add "10.5.0.$last/24" dev eth0
  ip -n "$space" addr add "fd00:5::$last/64" dev eth0 nodad
  ip -n "$space" link set eth0 up
done
ip -n "$shop" addr add ::6/128 dev lo nodad
inside "$shop" "$BIN/pilot-agent" istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020 --dual-stack >"$work/iptables.log" 2>&1

format=$(cat "$lab_folder/access-log-format")
jq --arg format "$format" '(.. | .access_log? | select(. == "ACCESS_LOG")) |= [{name: "stdout", typed_config: {
  "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", log_format: {text_format_source: {inline_string: ($format + "\n")}}}}]' \
  "$situation_folder/envoy.json" >"$work/envoy.json"
chmod 755 "$work"
inside "$shop" setpriv --reuid=1337 --regid=1337 --clear-groups "$BIN/envoy" -c "$work/envoy.json" --concurrency 1 --use-dynamic-base-id --file-flush-interval-msec 500 >"$work/access.log" 2>"$work/envoy.log" &
processes+=($!)
for where in "$shop 9080" "$shop 15020" "$peer 8080" "$peer 8081"; do
  read -r space port <<<"$where"
  inside "$space" setpriv --reuid=1000 --regid=1000 --clear-groups node "$lab_folder/apps/servers.mjs" http "$port" >/dev/null 2>&1 &
  processes+=($!)
done
sleep 3
MESH="$lab_folder/mesh" python3 "$lab_folder/record.py" --netns "$shop=$work/access.log,$peer" "$work/out" env work="$work" bash "$0" traffic
keep "$work/out"
