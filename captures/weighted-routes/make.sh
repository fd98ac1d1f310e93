#!/usr/bin/env bash
# shellcheck source=../../test/mesh/situation.sh
. "$(dirname "$0")/../../test/mesh/situation.sh"

pods=client,reviews,details
objects() {
  cat <<'Y'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews-split}
spec:
  hosts: [reviews]
  http:
  - {name: jason, match: [{headers: {end-user: {exact: jason}}}], route: [{destination: {host: reviews, subset: v2}}]}
  - {name: split, route: [{destination: {host: reviews, subset: v1}, weight: 80}, {destination: {host: reviews, subset: v3}, weight: 20}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: details-ways}
spec:
  hosts: [details]
  http:
  - {name: moved, match: [{uri: {prefix: /old}}], redirect: {uri: /details/0, redirectCode: 301}}
  - {name: answered, match: [{uri: {exact: /version}}], directResponse: {status: 218, body: {string: here}}}
  - {name: rewritten, match: [{uri: {prefix: /book/}, method: {exact: GET}}], rewrite: {uri: /details/}, route: [{destination: {host: details}}]}
  - {name: plain, route: [{destination: {host: details}}]}
Y
}
traffic() {
  try 'ten requests on one connection, split 80 to 20' app client "${status[@]}" 'http://reviews:9080/reviews/[0-9]'
  try 'header match' app client "${status[@]}" -H 'end-user: jason' http://reviews:9080/reviews/0
  try 'redirect' app client "${status[@]}" http://details:9080/old/1
  try 'direct response' app client "${status[@]}" http://details:9080/version
  try 'rewrite' app client "${status[@]}" http://details:9080/book/0
  try 'rewrite not for POST' app client "${status[@]}" -X POST http://details:9080/book/0
}

situation "$@"
