# Marks, connection marks and TPROXY: mangle is asked for every packet, and what it writes is seen by what comes after.
rules iptables 4
*mangle
-N DIVERT
-N IN
-A PREROUTING -p tcp -j IN
-A PREROUTING -p tcp -m mark --mark 0x5dc -j CONNMARK --save-mark
-A IN -p tcp -m mark --mark 0x5dc -j RETURN
-A IN -p tcp -i lo -m mark ! --mark 0x5dd -j RETURN
-A IN -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j DIVERT
-A IN -p tcp ! -d 127.0.0.1/32 -j TPROXY --on-port 15006 --tproxy-mark 0x5dc
-A DIVERT -j MARK --set-mark 0x5dc
-A DIVERT -j ACCEPT
-A OUTPUT -p tcp -o lo -m mark --mark 0x5dc -j RETURN
-A OUTPUT -p tcp -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500 -j MARK --set-mark 0x5dd
-A OUTPUT -p tcp -m connmark --mark 0x5dc -j CONNMARK --restore-mark
COMMIT
*nat
-A OUTPUT -p tcp -m mark --mark 0x5dd -j ACCEPT
-A OUTPUT -p tcp -o lo -m mark --mark 0/0xf000 -j RETURN
COMMIT
end

PREROUTING in=eth0 tcp 10.0.9.9:5000 > 10.0.0.5:9080                        = TPROXY ?:15006 mark=0x5dc ; PREROUTING/1 IN/4
PREROUTING in=eth0 listener=no tcp 10.0.9.9:5000 > 10.0.0.5:9080            = DROP ; PREROUTING/1 IN/4
PREROUTING in=eth0 state=ESTABLISHED tcp 10.0.9.9:5000 > 10.0.0.5:9080      = ACCEPT mark=0x5dc ; PREROUTING/1 IN/3 DIVERT/1 DIVERT/2
PREROUTING in=lo mark=0x5dc tcp 10.0.9.9:5000 > 10.0.0.5:9080               = ACCEPT connmark=0x5dc ; PREROUTING/1 IN/1 PREROUTING/2
PREROUTING in=lo mark=0x5dd tcp 10.0.0.5:5000 > 10.0.0.5:9080               = TPROXY ?:15006 mark=0x5dc ; PREROUTING/1 IN/4
PREROUTING in=lo tcp 10.0.0.5:5000 > 10.0.0.5:9080                          = ACCEPT ; PREROUTING/1 IN/2
OUTPUT out=lo owner=1500 tcp 10.0.0.5:5000 > 10.0.0.5:9080                  = ACCEPT mark=0x5dd ; mangle:OUTPUT/2 nat:OUTPUT/1
OUTPUT out=lo owner=1000 tcp 10.0.0.5:5000 > 10.0.0.5:9080                  = ACCEPT ; nat:OUTPUT/2
OUTPUT out=lo owner=1500 mark=0x5dc tcp 10.0.0.5:5000 > 10.0.0.5:9080       = ACCEPT mark=0x5dc ; mangle:OUTPUT/1 nat:OUTPUT/2
OUTPUT out=lo state=ESTABLISHED connmark=0x5dc owner=1000 tcp 10.0.0.5:9080 > 10.0.9.9:5000 = ACCEPT mark=0x5dc ; OUTPUT/3
OUTPUT out=lo state=ESTABLISHED owner=1000 tcp 10.0.0.5:9080 > 10.0.9.9:5000 = unknown mark-unknown ; mangle:OUTPUT/3?
# What is not known of the mark is asked once: a mark that is 0x5dc is not 0x5dd as well
OUTPUT out=lo mark=unknown owner=1000 tcp 10.0.0.5:5000 > 10.0.0.5:9080     = unknown mark-unknown ; mangle:OUTPUT/1?
PREROUTING in=lo mark=unknown tcp 10.0.0.5:5000 > 127.0.0.1:9080            = unknown mark-unknown ; PREROUTING/1 IN/1?
