# raw comes before connection tracking. The first zone wins; to nft, a zone also takes back what was not to be tracked.
rules iptables 4
*raw
-A OUTPUT -p udp --dport 53 -m owner --uid-owner 1500 -j CT --zone 1
-A OUTPUT -p udp --dport 53 -j CT --zone 2
-A OUTPUT -p udp --dport 99 -j NOTRACK
-A OUTPUT -p udp --dport 99 -j CT --zone 7
-A OUTPUT -m conntrack --ctstate INVALID -p udp --dport 98
COMMIT
*nat
-A OUTPUT -p udp -j REDIRECT --to-ports 15053
COMMIT
end
OUTPUT out=eth0 owner=1500 udp 10.0.0.5:4000 > 10.0.9.9:53 = REDIRECT 127.0.0.1:15053 zone=1 ; raw:OUTPUT/1 raw:OUTPUT/2 nat:OUTPUT/1
OUTPUT out=eth0 owner=1000 udp 10.0.0.5:4000 > 10.0.9.9:53 = REDIRECT 127.0.0.1:15053 zone=2 ; raw:OUTPUT/2 nat:OUTPUT/1
OUTPUT out=eth0 owner=1000 udp 10.0.0.5:4000 > 10.0.9.9:99 = ACCEPT untracked ; raw:OUTPUT/3 raw:OUTPUT/4
OUTPUT out=eth0 owner=1000 udp 10.0.0.5:4000 > 10.0.9.9:98 = REDIRECT 127.0.0.1:15053 ; raw:OUTPUT/5 nat:OUTPUT/1

rules nft
table inet x-raw {
  chain output {
    type filter hook output priority raw; policy accept;
    udp dport 99 counter notrack
    udp dport { 53, 99 } counter ct zone set 7
  }
}
table inet x-nat {
  chain output {
    type nat hook output priority dstnat; policy accept;
    meta l4proto udp counter redirect to :15053
  }
}
end
OUTPUT out=eth0 owner=1000 udp 10.0.0.5:4000 > 10.0.9.9:53 = REDIRECT 127.0.0.1:15053 zone=7 ; x-raw:output/2 x-nat:output/1
OUTPUT out=eth0 owner=1000 udp 10.0.0.5:4000 > 10.0.9.9:99 = REDIRECT 127.0.0.1:15053 zone=7 ; x-raw:output/1 x-raw:output/2 x-nat:output/1
OUTPUT out=eth0 owner=1000 udp fd00::5:4000 > fd00::9:53   = REDIRECT ::1:15053 zone=7 ; x-raw:output/2 x-nat:output/1
