// Package joincode writes and reads the code by which a node asks to join a cluster: one line of text that an operator carries from
// one node to another.
//
//	"csj1_" || base64url without padding (RFC 4648 section 5) of
//	    secret (32) || fingerprint (32) || lp(cluster id) || n (1) || n times lp(address) || checksum (4)
//
// lp is package lp. The secret is random; the cluster stores its SHA-256 only. The fingerprint is SHA-256 of the DER certificate of
// the cluster CA: the new node knows by it whom it talks to. The addresses are those of the cluster ports of up to three members.
// The checksum is the first four bytes of SHA-256 over "cryptoserve/join-code/1" || all before it. It tells a code that was typed
// wrongly or cut, and proves nothing.
package joincode
