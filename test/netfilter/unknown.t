# What nobody can know is a question, never a yes and never a no; what settles the rule anyway is an answer.
rules iptables 4
*nat
-N A
-N B
-A OUTPUT -p tcp --dport 1 -m statistic --mode random --probability 0.5 -j A
-A OUTPUT -p tcp --dport 1 -j B
-A OUTPUT -p tcp --dport 2 -m set --match-set somewhere dst -j ACCEPT
-A OUTPUT -p tcp --dport 3 -m frobnicate --wildly 7 -j REDIRECT --to-ports 9
-A OUTPUT -p tcp --dport 4 -j FROBNICATE --wildly
-A OUTPUT -p tcp --dport 5 -m addrtype --dst-type LOCAL -j ACCEPT
-A OUTPUT -p tcp --dport 6 -j NFQUEUE --queue-num 1
-A OUTPUT -p tcp --dport 7 -j DNAT --to-destination 10.1.1.1-10.1.1.9:80-90
-A OUTPUT -p tcp --dport 8 -m limit --limit 5/min -j ACCEPT
-A OUTPUT -p tcp --dport 8 -j ACCEPT
-A OUTPUT -p tcp --dport 9 -j NOWHERE
-A A -p tcp -j DNAT --to-destination 10.1.1.1:81
-A B -p tcp -j DNAT --to-destination 10.1.1.2:82
COMMIT
end
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:1   = unknown match-random ; OUTPUT/1?
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:2   = unknown match-needs-state ; OUTPUT/3?
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:3   = unknown match-unknown ; OUTPUT/4?
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:4   = unknown target-unknown ; OUTPUT/5 OUTPUT/5?
OUTPUT out=lo tcp 10.0.0.5:4000 > 127.0.0.9:5    = ACCEPT ; OUTPUT/6
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 224.0.0.9:5  = ACCEPT ;
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:5   = unknown match-needs-state ; OUTPUT/6?
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:6   = unknown target-unknown ; OUTPUT/7 OUTPUT/7?
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:7   = DNAT ?:? ; OUTPUT/8
# Both ways lead to ACCEPT, but not by the same rules
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:8   = unknown match-needs-state ; OUTPUT/9?
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:9   = unknown target-unknown ; OUTPUT/11 OUTPUT/11?
OUTPUT out=eth0 tcp 10.0.0.5:4000 > 10.0.9.9:10  = ACCEPT ;
OUTPUT out=eth0 udp 10.0.0.5:4000 > 10.0.9.9:1   = ACCEPT ;
