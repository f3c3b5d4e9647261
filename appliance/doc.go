// Package appliance is the whole product: it reads the configuration, opens the parts in order, joins them, serves, and
// closes them in the opposite order.
//
// The path of a request:
//
//	client -> api (route, token) -> engine (authorise, key, algorithm, state) -> hsm | cluster -> answer
//	                                  '-- engine/audit around every operation
//
// The order of opening, each step needing the one before:
//
//	lock       one process a data directory
//	identity   which node of which cluster this directory belongs to
//	audit      no operation without its record, so the log comes first
//	token      the PKCS#11 token with the master key; its check value must be the identity's
//	authority  the cluster CA, whose key the token unwraps
//	network    the cluster port, where cluster.listen names one
//	cluster    the Raft log and snapshots, sealed under a key that the token derives
//	engine     the use cases
//	api        the listener, with a certificate for the token's own key
//
// What a node must know before it has the state of its cluster lies beside its log: who it is and the CA (node.json), and who the
// others are (members.json). The state decides as soon as it is there.
//
// Serve runs a node that exists. Dev makes one on its first start, with a SoftHSM2 token, an owner and an application, and
// serves it from then on. Join makes the node of an empty directory a member of a cluster, ForceNew a cluster of one out of the
// directory of a stopped node. Serve and Dev end when their context does, after the requests that run have been answered.
package appliance
