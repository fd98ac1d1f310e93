# Calls, ways back, policies and the other hooks.
rules iptables 4
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-N A
-N B
-N C
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp --dport 22 -j A
-A INPUT -p tcp --dport 23 -g A
-A INPUT -p tcp -j LOG --log-prefix "seen "
-A INPUT -p tcp --dport 23 -j ACCEPT
-A A -p tcp -s 10.1.0.0/16 -j ACCEPT
-A A -j B
-A A -p tcp -s 10.3.0.0/16 -j ACCEPT
-A B -p tcp -s 10.2.0.0/16 -g C
-A B -s 10.3.0.0/16 -j RETURN
-A C -p tcp --dport 22 -m comment --comment "only counts"
-A OUTPUT -p tcp --syn -d 10.0.0.0/255.0.0.255 -j REJECT
-A OUTPUT -p tcp -m iprange --dst-range 10.5.0.1-10.5.0.9 -j DROP
COMMIT
end
INPUT in=lo tcp 10.9.0.1:1 > 10.0.0.5:22    = ACCEPT ; INPUT/1
INPUT in=eth0 tcp 10.1.0.1:1 > 10.0.0.5:22  = ACCEPT ; INPUT/2 A/1
# goto: C goes back to where B's caller stands, which is A
INPUT in=eth0 tcp 10.2.0.1:1 > 10.0.0.5:22  = DROP ; INPUT/2 A/2 B/1 C/1 INPUT/4
INPUT in=eth0 tcp 10.3.0.1:1 > 10.0.0.5:22  = ACCEPT ; INPUT/2 A/2 B/2 A/3
# gone to A with -g: what A does not decide is the policy's
INPUT in=eth0 tcp 10.9.0.1:1 > 10.0.0.5:23  = DROP ; INPUT/3 A/2
INPUT in=eth0 tcp 10.1.0.1:1 > 10.0.0.5:23  = ACCEPT ; INPUT/3 A/1
INPUT in=eth0 tcp 10.9.0.1:1 > 10.0.0.5:80  = DROP ; INPUT/4
INPUT in=eth0 udp 10.9.0.1:1 > 10.0.0.5:80  = DROP ;
# A mask with a hole
OUTPUT out=eth0 flags=0x02 tcp 10.0.0.5:1 > 10.7.7.0:80 = DROP ; OUTPUT/1
OUTPUT out=eth0 flags=0x10 tcp 10.0.0.5:1 > 10.7.7.0:80 = ACCEPT ;
OUTPUT out=eth0 flags=0x02 tcp 10.0.0.5:1 > 10.7.7.1:80 = ACCEPT ;
OUTPUT out=eth0 flags=0x10 tcp 10.0.0.5:1 > 10.5.0.9:80 = DROP ; OUTPUT/2
OUTPUT out=eth0 flags=0x10 tcp 10.0.0.5:1 > 10.5.0.10:80 = ACCEPT ;

# Tables of one priority: what registers later is asked first
rules nft
add table inet first
add chain inet first output { type nat hook output priority -100 ; }
add rule inet first output udp dport 99 counter redirect to :1
add table inet second
add chain inet second output { type nat hook output priority -100 ; }
add rule inet second output udp dport 99 counter redirect to :2
end
OUTPUT out=eth0 udp 10.0.0.5:1 > 10.9.9.9:99 = REDIRECT 127.0.0.1:2 ; second:output/1

# nft's own: rules of both families in one table, sets, masks, an owner that nobody is
rules nft
table inet t {
  set friends {
    type ipv4_addr
    flags interval
    elements = { 10.1.0.0/16, 10.2.0.7 }
  }
  chain output {
    type filter hook output priority mangle; policy accept;
    ip daddr @friends counter accept
    ip6 daddr != fd00::/8 counter drop
    meta skuid != 1500 tcp dport 1-9 counter drop
    meta mark & 0xff00 == 0x1200 counter drop
    tcp flags & (syn | ack) == syn tcp dport 77 counter drop
    oifname "eth*" tcp dport 78 counter drop
    tcp dport 79 counter meta mark set mark and 0xff or 0x300
    meta mark 0x3ff counter
  }
}
end
OUTPUT out=eth0 owner=1000 tcp 10.0.0.5:1 > 10.1.9.9:80   = ACCEPT ; output/1
OUTPUT out=eth0 owner=1000 tcp 10.0.0.5:1 > 10.2.0.7:80   = ACCEPT ; output/1
OUTPUT out=eth0 owner=1000 tcp 10.0.0.5:1 > 10.2.0.8:80   = ACCEPT ;
OUTPUT out=eth0 owner=1000 tcp fd00::5:1 > 2001:db8::1:80 = DROP ; output/2
OUTPUT out=eth0 owner=1000 tcp fd00::5:1 > fd00::9:80     = ACCEPT ;
OUTPUT out=eth0 owner=1000 tcp 10.0.0.5:1 > 10.9.9.9:7    = DROP ; output/3
OUTPUT out=eth0 owner=1500 tcp 10.0.0.5:1 > 10.9.9.9:7    = ACCEPT ;
OUTPUT out=eth0 owner=none tcp 10.0.0.5:1 > 10.9.9.9:7    = ACCEPT ;
OUTPUT out=eth0 owner=1000 mark=0x1234 tcp 10.0.0.5:1 > 10.9.9.9:80 = DROP ; output/4
OUTPUT out=eth0 owner=1000 flags=0x02 tcp 10.0.0.5:1 > 10.9.9.9:77  = DROP ; output/5
OUTPUT out=eth0 owner=1000 flags=0x12 tcp 10.0.0.5:1 > 10.9.9.9:77  = ACCEPT ;
OUTPUT out=eth1 owner=1000 tcp 10.0.0.5:1 > 10.9.9.9:78   = DROP ; output/6
OUTPUT out=lo owner=1000 tcp 10.0.0.5:1 > 10.9.9.9:78     = ACCEPT ;
OUTPUT out=lo owner=1000 mark=0xff tcp 10.0.0.5:1 > 10.9.9.9:79 = ACCEPT mark=0x3ff ; output/7 output/8
