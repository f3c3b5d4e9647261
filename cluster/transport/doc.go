// Package transport is the network between the nodes of a cluster: one TCP port, TLS 1.3 with certificates on both sides,
// and nothing in it knows Raft, state or token.
//
// What a client offers as its one ALPN protocol (RFC 7301) decides what it gets:
//
//	cryptoserve-raft/1   a stream for Raft               a member's certificate
//	cryptoserve-node/1   calls between nodes             a member's certificate
//	cryptoserve-join/1   the HTTP handler Config.Join    no certificate
//
// # Who is a member
//
// Every member has the key of the cluster CA in its token and issues its own certificate, and so could a node that was
// removed. The chain alone proves nothing, therefore. A peer is accepted, at either end, when its certificate was issued by
// the CA, names cluster and node in its one URI (cryptoserve://CLUSTER/NODE), and holds the key that Config.Member says
// this node has now; the handshake proves that the peer has the private half. A dial also names the node that it expects.
// There is no resumption, so each connection is judged anew, and Recheck judges the open ones again.
//
// # Connections
//
// A stream of Raft and a connection of calls both begin with the acceptor's welcome, 8 bytes: its wall clock, nanoseconds since 1970,
// big endian. It tells the dialling side that it was accepted, which in TLS 1.3 the end of the handshake does not.
//
// Each pair of nodes has one connection of calls in each direction, for any number of calls at the same time, so that a call
// costs no handshake and the token no signature. Frames on it, integers big endian:
//
//	frame    length u32 (of all that follows) | kind u8 | id u64 | the rest
//	request  1: time limit u32 (milliseconds) | length of method u8 | method | request
//	answer   2: wall clock i64 (ns) | time taken i64 (ns) | answer
//	refusal  3: wall clock i64 (ns) | time taken i64 (ns) | length of code u8 | code | detail
//	cancel   4: empty; the caller of the request id no longer waits
//	ping     5: empty
//	pong     6: wall clock i64 (ns) | 0 i64
//
// A peer that sends nothing for two seconds although it was asked is given up; the next call dials again.
package transport
