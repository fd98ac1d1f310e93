# A sidecar that redirects everything: uid and gid 1500 are the proxy's, 3306 is left alone on the way out, 15020 and 15021 on the way in.
# packet = verdict ; chain/rule …    A question mark: this rule could not be judged.
rules iptables 4
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m multiport --dports 15020,15021 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -p tcp -m tcp --dport 3306 -j RETURN
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1500 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1500 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1500 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
end

# What the application opens
OUTPUT out=eth0 owner=1000 tcp 10.0.0.5:40000 > 10.0.9.9:80    = REDIRECT 127.0.0.1:15001 ; OUTPUT/1 ISTIO_OUTPUT/7 ISTIO_REDIRECT/1
OUTPUT out=eth0 owner=1000 udp 10.0.0.5:40000 > 10.0.9.9:80    = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/7
OUTPUT out=eth0 owner=1000 tcp 10.0.0.5:40000 > 10.0.9.9:3306  = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/1
# What the proxy opens
OUTPUT out=eth0 owner=1500 tcp 10.0.0.5:40000 > 10.0.9.9:80    = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/5
OUTPUT out=lo owner=1500 tcp 10.0.0.5:40000 > 10.0.0.5:9080    = REDIRECT 127.0.0.1:15006 ; OUTPUT/1 ISTIO_OUTPUT/3 ISTIO_IN_REDIRECT/1
OUTPUT out=lo owner=1500 tcp 10.0.0.5:40000 > 10.0.0.5:15008   = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/5
OUTPUT out=lo owner=1500 tcp 127.0.0.6:40000 > 10.0.0.5:9080   = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/2
# The application with itself
OUTPUT out=lo owner=1000 tcp 10.0.0.5:40000 > 10.0.0.5:9080    = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/4
OUTPUT out=lo owner=1000 tcp 127.0.0.1:40000 > 127.0.0.1:9080  = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/4
# A packet without a socket is not the proxy's
OUTPUT out=lo owner=none tcp 10.0.0.5:40000 > 10.0.0.5:9080    = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/4
# Nobody knows whose it is: the verdict hangs on it, unless something else settles it
OUTPUT out=eth0 tcp 10.0.0.5:40000 > 10.0.9.9:80               = unknown owner-unknown ; OUTPUT/1 ISTIO_OUTPUT/5?
OUTPUT out=eth0 tcp 10.0.0.5:40000 > 10.0.9.9:3306             = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/1
OUTPUT out=lo tcp 127.0.0.6:40000 > 10.0.0.5:9080              = ACCEPT ; OUTPUT/1 ISTIO_OUTPUT/2
OUTPUT owner=1500 tcp 10.0.0.5:40000 > 10.0.0.9:9080           = unknown interface-unknown ; OUTPUT/1 ISTIO_OUTPUT/3?
# What comes in
PREROUTING in=eth0 local=10.0.0.5 tcp 10.0.9.9:5000 > 10.0.0.5:9080   = REDIRECT 10.0.0.5:15006 ; PREROUTING/1 ISTIO_INBOUND/2 ISTIO_IN_REDIRECT/1
PREROUTING in=eth0 tcp 10.0.9.9:5000 > 10.0.0.5:9080                  = REDIRECT ?:15006 ; PREROUTING/1 ISTIO_INBOUND/2 ISTIO_IN_REDIRECT/1
PREROUTING in=eth0 tcp 10.0.9.9:5000 > 10.0.0.5:15021                 = ACCEPT ; PREROUTING/1 ISTIO_INBOUND/1
PREROUTING in=eth0 udp 10.0.9.9:5000 > 10.0.0.5:9080                  = ACCEPT ;
# nat is asked for the first packet of a connection only, and not again when it comes in over lo
PREROUTING in=eth0 state=ESTABLISHED tcp 10.0.9.9:5000 > 10.0.0.5:9080 = ACCEPT ;
PREROUTING in=eth0 state=INVALID tcp 10.0.9.9:5000 > 10.0.0.5:9080     = ACCEPT ;
PREROUTING in=lo tcp 10.0.0.5:40000 > 127.0.0.1:15001                  = ACCEPT ;
PREROUTING in=eth0 state=unknown tcp 10.0.9.9:5000 > 10.0.0.5:9080     = unknown state-unknown ;
# A rule set of one family sees nothing of the other
OUTPUT out=eth0 owner=1000 tcp fd00::5:40000 > fd00::9:80              = ACCEPT ;
