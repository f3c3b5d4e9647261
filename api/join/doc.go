// Package join is how a new node talks to the cluster that it wants to join: the handler on the cluster port, and the client of
// the new node.
//
// The node knows the cluster by the certificate of its CA, whose fingerprint stands in the invitation code; the cluster knows the
// node by the secret of the code until an operator has compared its fingerprint, and from then on by its key. Three calls, all
// POST with JSON, each with the code's secret:
//
//	/v1/request   what the node says of itself, signed by its node key; uses up the code
//	/v1/status    what became of it; after the approval the keys of the cluster, wrapped for the node's token
//	/v1/complete  the proof, signed by the node key, that the token has them: now the node is a member
//
// Errors are problem documents as the API has them. A code that is unknown, used or over has one answer.
package join
